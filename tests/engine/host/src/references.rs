//! The references of a cell.

use core::array;
use core::cell::Cell;
use core::fmt;
use vmexternref_core::{Trace, VMExternRef};

/// Two references that a guest can set, each to any object or null.
///
/// Two are enough for lists with two ways, trees and graphs.
#[derive(Default)]
pub struct References([Cell<Option<VMExternRef>>; 2]);

impl References {
    /// The reference at `index`, if there is one of that index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Option<VMExternRef>> {
        let reference = self.0.get(index)?;
        let value = reference.take();
        reference.set(value.clone());
        Some(value)
    }

    /// Sets the reference at `index`, and returns the one before, if there is one of that index.
    ///
    /// The caller drops the one before, whose destructor may look at the cell.
    pub fn replace(&self, index: usize, value: Option<VMExternRef>) -> Option<Option<VMExternRef>> {
        Some(self.0.get(index)?.replace(value))
    }
}

impl Trace for References {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        for reference in &self.0 {
            let value = reference.take();
            value.iter().for_each(&mut *visit);
            reference.set(value);
        }
    }

    fn unlink(&self) {
        // Both are taken before either is dropped.
        drop(array::from_fn::<_, 2, _>(|index| self.0[index].take()));
    }
}

impl fmt::Debug for References {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("References").finish_non_exhaustive()
    }
}
