//! Operands that the activations table does not hold yet.
//!
//! A reference that was loaded from a table or a global is entered before anything can take it out of the place it
//! came from: a store, a call, a collection. Most are used up before that, and are never entered.
//!
//! | operand | what keeps its object alive |
//! | --- | --- |
//! | entered | the activations table, or whoever called this function |
//! | borrowed | the element or the global that it was loaded from |
//! | owned | a count that was its global's, until another reference was stored there |
//!
//! No more than two operands wait, so that a collection that makes room for one has only one other to keep. An owned
//! operand waits alone, and only for instructions that cannot trap: a trap would lose its count.

use cranelift_codegen::ir::Value;
use wasmparser::Operator;

use crate::function::Translator;

/// Operands that may wait at a time.
const MOST: usize = 2;

/// What keeps the object of an operand alive that is not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// An element, or the global of that index.
    Place(Option<u32>),
    /// A count of its own.
    Count,
}

/// An operand that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unentered {
    /// Operands below it.
    height: usize,
    keeper: Keeper,
}

impl Translator<'_, '_> {
    /// Pushes a reference that was loaded from an element, or from the global of that index.
    pub(crate) fn push_borrowed(&mut self, reference: Value, global: Option<u32>) {
        self.unentered.push(Unentered {
            height: self.stack.len(),
            keeper: Keeper::Place(global),
        });
        self.push(reference);
    }

    /// Pops a reference, and says what keeps its object if it is not entered.
    pub(crate) fn pop_reference(&mut self) -> (Value, Option<Keeper>) {
        let keeper = self.top_keeper();
        if keeper.is_some() {
            self.unentered.pop();
        }
        (self.pop(), keeper)
    }

    /// Enters the operands that must not wait for `operator`.
    pub(crate) fn enter_before(&mut self, operator: &Operator<'_>) {
        let waiting = self.unentered.len();
        let owned = self.unentered.iter().any(|one| one.keeper == Keeper::Count);
        let top = self.top_keeper();
        let may_wait = match operator {
            // `global.set` of a reference looks after the operands itself, and of a number concerns none.
            Operator::LocalGet { .. }
            | Operator::RefNull { .. }
            | Operator::RefFunc { .. }
            | Operator::Nop
            | Operator::GlobalSet { .. } => true,
            Operator::GlobalGet { .. } | Operator::TableGet { .. } => waiting < MOST && !owned,
            Operator::Drop | Operator::RefIsNull => top != Some(Keeper::Count),
            Operator::LocalSet { .. } | Operator::LocalTee { .. } => top.is_none(),
            Operator::TableSet { .. } => waiting == 1 && matches!(top, Some(Keeper::Place(_))),
            _ => false,
        };
        if !may_wait {
            self.enter_all();
        }
    }

    /// Enters all operands that wait.
    pub(crate) fn enter_all(&mut self) {
        let waiting = core::mem::take(&mut self.unentered);
        for (index, one) in waiting.iter().enumerate() {
            let next = waiting.get(index + 1);
            let kept = next.map(|other| self.stack[other.height]);
            let entered = self.enter_reference(self.stack[one.height], one.keeper, kept);
            self.stack[one.height] = entered;
        }
    }

    /// Prepares the store of the operand on top to a global.
    ///
    /// True if the only other operand that waits was loaded from that global. It takes over the count of what the
    /// store replaces, and so the store has nothing to release.
    pub(crate) fn bequeath(&mut self, global: u32) -> bool {
        let top = self.stack.len() - 1;
        let mut below = self.unentered.iter_mut().filter(|one| one.height != top);
        match (below.next(), below.next()) {
            (Some(heir), None) if heir.keeper == Keeper::Place(Some(global)) => {
                heir.keeper = Keeper::Count;
                return true;
            }
            (None, _) => {}
            _ => self.enter_all(),
        }
        false
    }

    /// How many of the operands above the lowest `height` wait.
    pub(crate) fn waiting_above(&self, height: usize) -> usize {
        let above = |one: &&Unentered| one.height >= height;
        self.unentered.iter().filter(above).count()
    }

    /// What keeps the operand on top, if it waits.
    fn top_keeper(&self) -> Option<Keeper> {
        let last = self.unentered.last()?;
        (last.height + 1 == self.stack.len()).then_some(last.keeper)
    }
}
