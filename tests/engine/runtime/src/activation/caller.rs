//! What a host function knows of who called it.

use core::fmt;
use core::mem::ManuallyDrop;

use vmexternref_engine_abi::VMContext;

use crate::error::Trap;
use crate::external::{Extern, Memory};
use crate::item::InstanceItem;
use crate::store::Store;

/// The store and the instance that called a host function.
pub struct Caller<'a> {
    store: &'a Store,
    /// Absent if the host itself called.
    instance: Option<&'a InstanceItem>,
}

impl<'a> Caller<'a> {
    /// Runs `f` with the caller of a raw host function.
    ///
    /// # Safety
    ///
    /// `caller` is what the function was called with.
    #[inline]
    pub unsafe fn with<R>(caller: *const VMContext, f: impl FnOnce(&Caller<'_>) -> R) -> R {
        // SAFETY: whoever calls a host function passes a context, and keeps its store alive meanwhile.
        let store: ManuallyDrop<Store> = unsafe { Store::borrow_raw((*caller).store) };
        // SAFETY: the same context lives as long as the call.
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

    /// What the calling instance exports under that name.
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

    /// Records a trap; a raw host function returns this status then.
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
