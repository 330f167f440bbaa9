//! The caller of a host function.

use crate::error::Trap;
use crate::external::{Extern, Memory};
use crate::item::InstanceItem;
use crate::store::Store;
use core::fmt;
use core::mem::ManuallyDrop;
use vmexternref_engine_abi::VMContext;

/// The store and the instance that called a host function.
pub struct Caller<'a> {
    store: &'a Store,
    /// `None` if the host itself called.
    instance: Option<&'a InstanceItem>,
}

impl<'a> Caller<'a> {
    /// Calls `f` with the caller of a raw host function.
    ///
    /// # Safety
    ///
    /// `caller` is the second argument of a running raw host function.
    #[inline]
    pub unsafe fn with<R>(caller: *const VMContext, f: impl FnOnce(&Caller<'_>) -> R) -> R {
        // SAFETY: a call of a host function passes a context, and its store outlives the call.
        let store: ManuallyDrop<Store> = unsafe { Store::borrow_raw((*caller).store) };
        // SAFETY: the context outlives the call, too.
        let instance = unsafe { InstanceItem::from_context(caller) };
        f(&Caller {
            store: &store,
            instance,
        })
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &'a Store {
        self.store
    }

    /// The export of that name of the calling instance.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<Extern> {
        self.instance?.export(name)
    }

    /// A memory of the calling instance.
    #[must_use]
    pub fn memory(&self, index: u32) -> Option<Memory> {
        self.instance?.memory_at(index)
    }

    /// The status that a raw host function returns for `result`.
    pub fn status(&self, result: Result<(), Trap>) -> u32 {
        match result {
            Ok(()) => 0,
            Err(trap) => self.fail(trap),
        }
    }

    /// Records a trap, and returns the status that a raw host function returns then.
    pub fn fail(&self, trap: Trap) -> u32 {
        self.store.inner().trap.set(Some(trap));
        1
    }
}

impl fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("store", self.store)
            .field("instance", &self.instance.is_some())
            .finish()
    }
}
