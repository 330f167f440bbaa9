//! Operands that are not inserted into the activations table yet.

use crate::translate::ownership::{MOST_PENDING, Ownership, Pending};
use crate::translate::translator::Translator;
use core::mem;
use cranelift_codegen::ir::Value;
use wasmparser::Operator;

impl Translator<'_, '_> {
    /// Pushes a reference that was loaded from an element, or from the global of that index.
    pub(crate) fn push_borrowed(&mut self, reference: Value, global: Option<u32>) {
        self.pending.push(Pending {
            height: self.stack.len(),
            ownership: Ownership::Borrowed(global),
        });
        self.push(reference);
    }

    /// Pops a reference, pending or not.
    pub(crate) fn pop_reference(&mut self) -> (Value, Ownership) {
        let ownership = self.top_ownership();
        if ownership != Ownership::Inserted {
            self.pending.pop();
        }
        (self.pop(), ownership)
    }

    /// Inserts the operands that must not be pending during `operator`.
    pub(crate) fn insert_before(&mut self, operator: &Operator<'_>) {
        let pending = self.pending.len();
        let owned = self
            .pending
            .iter()
            .any(|one| one.ownership == Ownership::Owned);
        let top = self.top_ownership();
        let may_wait = match operator {
            // `global.set` of a reference inserts what it must, and of a number needs no insertion.
            Operator::LocalGet { .. }
            | Operator::RefNull { .. }
            | Operator::RefFunc { .. }
            | Operator::Nop
            | Operator::GlobalSet { .. } => true,
            Operator::GlobalGet { .. } | Operator::TableGet { .. } => {
                pending < MOST_PENDING && !owned
            }
            Operator::Drop | Operator::RefIsNull => top != Ownership::Owned,
            Operator::LocalSet { .. } | Operator::LocalTee { .. } => top == Ownership::Inserted,
            Operator::TableSet { .. } => pending == 1 && matches!(top, Ownership::Borrowed(_)),
            _ => false,
        };
        if !may_wait {
            self.insert_pending();
        }
    }

    /// Inserts all pending operands.
    pub(crate) fn insert_pending(&mut self) {
        let pending = mem::take(&mut self.pending);
        for (index, one) in pending.iter().enumerate() {
            let next = pending.get(index + 1);
            let kept = next.map(|other| self.stack[other.height]);
            let inserted = self.insert_reference(self.stack[one.height], one.ownership, kept);
            self.stack[one.height] = inserted;
        }
    }

    /// Prepares the store of the operand on top to a global.
    ///
    /// If the only other pending operand was loaded from that global, it takes over the count of
    /// the reference that the store replaces. Returns whether it does: the store then has nothing
    /// to release.
    pub(crate) fn take_over_count(&mut self, global: u32) -> bool {
        let top = self.stack.len() - 1;
        let mut others = self.pending.iter_mut().filter(|one| one.height != top);
        match (others.next(), others.next()) {
            (Some(one), None) if one.ownership == Ownership::Borrowed(Some(global)) => {
                one.ownership = Ownership::Owned;
                return true;
            }
            (None, _) => {}
            _ => self.insert_pending(),
        }
        false
    }

    fn top_ownership(&self) -> Ownership {
        match self.pending.last() {
            Some(last) if last.height + 1 == self.stack.len() => last.ownership,
            _ => Ownership::Inserted,
        }
    }
}
