//! What cases have done: programs that do nothing agree with everything.

use crate::oracle::{Event, Outcome};
use crate::program::{Op, Program};
use core::fmt;
use std::collections::BTreeMap;

/// How many programs ran, and what was in them.
#[derive(Debug, Default)]
pub struct Tally {
    /// Programs that ran in every configuration.
    pub programs: u64,
    /// Programs that the interpreter gave up on, and that did not run.
    pub too_long: u64,
    /// Objects that the interpreter saw made.
    pub objects: u64,
    /// Collections that guests asked for.
    pub collections: u64,
    /// Collections that had to keep something for a frame, or could have.
    pub with_frames: u64,
    /// Objects that tables and globals held at the end.
    pub stored: u64,
    /// How often each trap ended a program.
    pub traps: BTreeMap<&'static str, u64>,
    /// How often each instruction was in a program.
    pub instructions: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, program: &Program, outcome: &Outcome) {
        self.programs += 1;
        self.objects += outcome.made;
        self.stored += outcome.stored().len() as u64;
        for event in &outcome.events {
            if let Event::Collected(left) = event {
                self.collections += 1;
                self.with_frames += u64::from(left.start() < left.end());
            }
        }
        if let Some(code) = outcome.trap {
            *self.traps.entry(code.message()).or_default() += 1;
        }
        let bodies = program.functions.iter();
        bodies.for_each(|function| self.count_ops(&function.body));
    }

    fn count_ops(&mut self, ops: &[Op]) {
        for op in ops {
            let name = match op {
                Op::TableGet(_) => "table.get",
                Op::TableSet(_) => "table.set",
                Op::GlobalGet(_) => "global.get",
                Op::GlobalSet(_) => "global.set",
                Op::Call(_) => "call",
                Op::CallIndirect(_) => "call_indirect",
                Op::ReturnCall(_) => "return_call",
                Op::ReturnCallIndirect(_) => "return_call_indirect",
                Op::CallWith(_) => "call through the host",
                Op::Try(_) => "call that may trap",
                Op::BrTable(..) => "br_table",
                Op::Block(_, body) => {
                    self.count_ops(body);
                    "block"
                }
                Op::Loop(_, _, body) => {
                    self.count_ops(body);
                    "loop"
                }
                Op::If(_, then, otherwise) => {
                    self.count_ops(then);
                    self.count_ops(otherwise);
                    "if"
                }
                _ => continue,
            };
            *self.instructions.entry(name).or_default() += 1;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            programs,
            too_long,
            objects,
            collections,
            with_frames,
            stored,
            traps,
            instructions,
        } = self;
        write!(
            f,
            "{programs} programs, {too_long} too long to run, {objects} objects, {stored} stored, \
             {collections} collections, {with_frames} with references in frames"
        )?;
        for (name, count) in traps.iter().chain(instructions) {
            write!(f, "\n{count:>12} {name}")?;
        }
        Ok(())
    }
}
