//! What runs the guests.

use alloc::rc::Rc;
use alloc::sync::Arc;
use core::fmt;
use vmexternref_core::{OutOfMemory, StackMapRegistry};
use vmexternref_engine_runtime::{CodePlacer, Limits, Store};

/// What runs the guests.
#[derive(Clone)]
pub struct Engine {
    kind: Kind,
    limits: Limits,
}

#[derive(Clone)]
enum Kind {
    Native(Rc<dyn CodePlacer>),
    #[cfg(feature = "interpreted")]
    Interpreter,
}

/// The limits of every store, but for its stacks.
const LIMITS: Limits = Limits {
    table_slots_initial: 64,
    max_memory_pages: 16,
    ..Limits::DEFAULT
};

impl Engine {
    /// The machine itself, with this executable memory and a stack of two mebibytes.
    #[must_use]
    pub fn native(placer: impl CodePlacer + 'static) -> Self {
        Self {
            kind: Kind::Native(Rc::new(placer)),
            limits: Limits {
                // The host has as many.
                stack_bytes: 1 << 20,
                ..LIMITS
            },
        }
    }

    /// An interpreter of bytecode.
    ///
    /// Its own stack has `interpreter_stack_bytes`. Calls that nest may use `stack_bytes` of the
    /// machine's.
    #[cfg(feature = "interpreted")]
    #[must_use]
    pub const fn interpreter(stack_bytes: usize, interpreter_stack_bytes: usize) -> Self {
        Self {
            kind: Kind::Interpreter,
            limits: Limits {
                stack_bytes,
                interpreter_stack_bytes,
                ..LIMITS
            },
        }
    }

    /// A store without any guest.
    pub(crate) fn store(&self) -> Result<Store, OutOfMemory> {
        let registry = Arc::new(StackMapRegistry::new());
        match &self.kind {
            Kind::Native(placer) => Store::new(registry, self.limits, Rc::clone(placer)),
            #[cfg(feature = "interpreted")]
            Kind::Interpreter => Store::interpreted(registry, self.limits),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}
