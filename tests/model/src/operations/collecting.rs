//! Collections, with each kind of walker.

use crate::collections::{Expected, frames_of};
use crate::objects::Id;
use crate::stacks::Stack;
use crate::walks::{Addresses, Manner, View, Walk};
use crate::world::World;
use arbitrary::{Result, Unstructured};
use vmexternref_core::{ComparingWalker, Frame, GcReport, WalkEnd, collect, gc};
use vmexternref_frame_pointer::{ActivationsWalker, StacksWalker};

impl World {
    /// What a walker of this manner shows now.
    pub(super) fn walk(&self, table: usize, manner: Manner) -> Walk {
        let missing = |place| !self.is_registered(place);
        manner.walk(&self.stacks, self.running, table, missing)
    }

    /// What the next collection has to do; checks that the rules let nothing go that is held.
    pub(super) fn expect_collection(&self, table: usize, walk: &Walk) -> Expected {
        let expected = self.expect(table, walk);
        self.check_soundness(table, &expected);
        expected
    }

    /// Takes what a collection has to do into the books, and says which objects die of it.
    fn apply(&mut self, table: usize, expected: &Expected) -> Vec<Id> {
        self.books.entries[table].clone_from(&expected.entries);
        for &id in &expected.leaked {
            self.books.objects[id].leaked += 1;
            self.tally.count("references leaked");
        }
        self.dead_now()
    }

    /// Objects that nothing holds any more, not counting those that they take along.
    pub(super) fn dead_now(&self) -> Vec<Id> {
        let counts = self.books.counts();
        let dead = |&id: &Id| counts[id] == 0 && self.books.is_alive(id);
        (0..counts.len()).filter(dead).collect()
    }

    pub(super) fn check_insertion(
        &mut self,
        table: usize,
        report: Option<GcReport>,
        expected: Option<Expected>,
        before: usize,
    ) {
        assert_eq!(
            report.is_some(),
            expected.is_some(),
            "it collects when full"
        );
        if let (Some(report), Some(expected)) = (report, expected) {
            let dead = self.apply(table, &expected);
            self.check_report(&report, &expected, before, dead.len());
            self.tally.count("insertions that collect");
        }
    }

    pub(super) fn collect(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let table = u.int_in_range(0..=1)?;
        let manner = Manner::arbitrary(self.faults.walkers, u)?;
        let walk = self.walk(table, manner);
        match u.int_in_range(0..=5)? {
            0 | 1 => self.collect_in_slices(table, &walk),
            2 => self.collect_by_records(table),
            3 => self.collect_comparing(table, &walk, u.arbitrary()?),
            _ => {
                let expected = self.expect_collection(table, &walk);
                let real = self.tables[table].real();
                let before = real.len();
                // SAFETY: the walk shows the frames as they are, or as little as the case wants.
                let report = unsafe { gc(&self.registry, real, &walk.replay()) };
                let dead = self.apply(table, &expected);
                self.check_report(&report, &expected, before, dead.len());
            }
        }
        Ok(())
    }

    /// Collects, and leaves the destructors for later.
    fn collect_in_slices(&mut self, table: usize, walk: &Walk) {
        let expected = self.expect_collection(table, walk);
        let real = self.tables[table].real();
        let before = real.len();
        // SAFETY: the walk shows the frames as they are, or as little as the case wants.
        let (report, garbage) = unsafe { collect(&self.registry, real, &walk.replay()) };
        let dead = self.apply(table, &expected);
        assert_eq!(garbage.len(), dead.len());
        self.check_report(&report, &expected, before, dead.len());
        self.keep_garbage(garbage, dead);
    }

    /// Collects with the walker over the activation records of all stacks.
    fn collect_by_records(&mut self, table: usize) {
        if self.stacks.iter().any(|stack| stack.has_several(table)) {
            return;
        }
        let before = self.tables[table].real().len();
        let mut collected = None;
        within_all(&self.stacks, table, &mut || {
            collected = Some(self.collect_recorded(table));
        });
        let (expected, report) = collected.expect("it has run");
        let dead = self.apply(table, &expected);
        self.check_report(&report, &expected, before, dead.len());
        self.tally.count("collections by activation records");
    }

    /// Collects while each record says what its stack has.
    fn collect_recorded(&self, table: usize) -> (Expected, GcReport) {
        let walkers = self.stacks.iter().map(|stack| {
            let walker = ActivationsWalker::new(stack.record(table));
            walker.with_stack(stack.range())
        });
        let walkers: Vec<_> = walkers.collect();
        // SAFETY: these are the records of all stacks, and iterating over a slice runs no other
        // code.
        let walker = unsafe { StacksWalker::new(walkers.iter().cloned()) };
        let (frames, end) = frames_of(&walker);
        let walk = Walk {
            frames,
            end,
            proves_end: true,
        };
        let manner = Manner {
            view: View::Activations,
            addresses: Addresses::Both,
            tells_compiled: true,
            proves_end: true,
            completes: true,
            cut: None,
        };
        let mut known = self.walk(table, manner).frames;
        let mut seen = walk.frames.clone();
        let by_place = |frame: &Frame| frame.sp;
        known.sort_unstable_by_key(by_place);
        seen.sort_unstable_by_key(by_place);
        assert_eq!((seen, end), (known, WalkEnd::Complete));
        let expected = self.expect_collection(table, &walk);
        // SAFETY: the records are those of the stacks as they are.
        let report = unsafe { gc(&self.registry, self.tables[table].real(), &walker) };
        (expected, report)
    }

    /// Collects with two walkers that agree, or of which the second misses a Wasm frame. Only the
    /// second knows which frames are compiled.
    fn collect_comparing(&mut self, table: usize, walk: &Walk, differs: bool) {
        let mut other = walk.clone();
        let last_wasm = other
            .frames
            .iter()
            .rposition(|frame| self.registry.is_wasm(frame.pc));
        let mut shown = Walk {
            proves_end: false,
            ..walk.clone()
        };
        if let Some(last) = last_wasm.filter(|_| differs) {
            let missed = other.frames.remove(last);
            shown.frames.clear();
            let reason = "two stack walkers disagree about a Wasm frame";
            shown.end = WalkEnd::stopped(reason, Some(missed.pc));
            self.tally.count("walkers that disagree");
        }
        let mut unsure = walk.clone();
        unsure
            .frames
            .iter_mut()
            .for_each(|frame| frame.compiled = false);
        let expected = self.expect_collection(table, &shown);
        let real = self.tables[table].real();
        let before = real.len();
        // SAFETY: the walks show the frames as they are, or less.
        let report = unsafe {
            let walker = ComparingWalker::new(&self.registry, unsure.replay(), other.replay());
            gc(&self.registry, real, &walker)
        };
        let dead = self.apply(table, &expected);
        self.check_report(&report, &expected, before, dead.len());
    }
}

/// Runs `f` within a call on each of `stacks`, of which the records say what the stacks have.
fn within_all(stacks: &[Stack], table: usize, f: &mut dyn FnMut()) {
    match stacks {
        [] => f(),
        [stack, others @ ..] => stack.within(table, &mut || within_all(others, table, f)),
    }
}
