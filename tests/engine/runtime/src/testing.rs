//! For unit tests: a store without executable memory, and counted objects.

use crate::code::{CodePlacer, PlacedCode};
use crate::error::PlaceError;
use crate::store::{Limits, Store};
use crate::value::Val;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::Cell;
use vmexternref_core::{StackMapRegistry, VMExternRef};

struct NoCode;

// SAFETY: it never returns code.
unsafe impl CodePlacer for NoCode {
    fn place(&self, _: &[u8], _: &[u8], _: usize) -> Result<Box<dyn PlacedCode>, PlaceError> {
        Err(PlaceError::NotExecutable)
    }
}

/// A store with small limits that cannot load code.
pub(crate) fn store() -> Store {
    let limits = Limits {
        table_slots_initial: 4,
        max_memory_pages: 4,
        max_table_elements: 100,
        max_bytes: 8 << 16,
        ..Limits::default()
    };
    let registry = Arc::new(StackMapRegistry::new());
    Store::new(registry, limits, Rc::new(NoCode)).expect("there is memory")
}

/// Counts the objects of a test that are alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alive(Rc<Cell<usize>>);

impl Alive {
    /// A new object.
    pub(crate) fn object(&self) -> VMExternRef {
        self.dying_with(|| {})
    }

    /// A new object, as a value.
    pub(crate) fn val(&self) -> Val {
        Val::ExternRef(Some(self.object()))
    }

    /// A new object whose destructor ends with `last_words`.
    pub(crate) fn dying_with(&self, last_words: impl Fn() + 'static) -> VMExternRef {
        self.0.set(self.0.get() + 1);
        VMExternRef::new(Object {
            alive: self.clone(),
            last_words,
        })
    }

    /// The number of objects that are alive.
    pub(crate) fn count(&self) -> usize {
        self.0.get()
    }
}

struct Object<F: Fn()> {
    alive: Alive,
    last_words: F,
}

impl<F: Fn()> Drop for Object<F> {
    fn drop(&mut self) {
        self.alive.0.set(self.alive.0.get() - 1);
        (self.last_words)();
    }
}

/// The object of a value, if it is one.
pub(crate) fn object(val: &Val) -> Option<&VMExternRef> {
    match val {
        Val::ExternRef(object) => object.as_ref(),
        _ => None,
    }
}
