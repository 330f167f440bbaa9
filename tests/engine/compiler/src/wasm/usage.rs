//! What a function body uses.

use wasmparser::{FunctionBody, Operator};

/// How a function uses one of its locals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LocalUse {
    /// Not at all.
    #[default]
    None,
    /// It reads the local, whose value is the first one for ever.
    Read,
    /// It assigns to the local.
    Assigned,
}

/// The locals that a function uses, and the types that it calls.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    locals: Vec<LocalUse>,
    /// The types of indirect calls, which may repeat.
    pub(crate) called_types: Vec<u32>,
}

impl Usage {
    /// What `body` uses.
    pub(crate) fn of(body: &FunctionBody<'_>) -> wasmparser::Result<Self> {
        let mut usage = Self::default();
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            usage.see(&operators.read()?, u32::MAX);
        }
        Ok(usage)
    }

    /// Adds what `operator` uses; a local only if its index is less than `locals`.
    pub(crate) fn see(&mut self, operator: &Operator<'_>, locals: u32) {
        let (index, found) = match *operator {
            Operator::LocalGet { local_index } => (local_index, LocalUse::Read),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                (local_index, LocalUse::Assigned)
            }
            Operator::CallIndirect { type_index, .. }
            | Operator::ReturnCallIndirect { type_index, .. } => {
                self.called_types.push(type_index);
                return;
            }
            _ => return,
        };
        if index >= locals {
            return;
        }
        let index = index as usize;
        if index >= self.locals.len() {
            self.locals.resize(index + 1, LocalUse::None);
        }
        if self.locals[index] != LocalUse::Assigned {
            self.locals[index] = found;
        }
    }

    /// How it uses the local of that index.
    pub(crate) fn local(&self, index: usize) -> LocalUse {
        self.locals.get(index).copied().unwrap_or_default()
    }

    /// Locals with greater indices are not used.
    pub(crate) fn locals(&self) -> usize {
        self.locals.len()
    }
}
