//! Names of items that a store owns.

use crate::error::WrongStore;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Tells stores apart, also after one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreId(usize);

/// The identity of one store, which nothing but the store holds.
///
/// It cannot be copied, so that a borrow of it is a borrow of the store.
#[derive(Debug)]
pub(crate) struct StoreIdentity(StoreId);

impl StoreIdentity {
    /// An identity that no other store of this process has.
    pub(crate) fn unique() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        Self(StoreId(NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The store's id.
    pub(crate) const fn id(&self) -> StoreId {
        self.0
    }
}

/// Points to an item that lives as long as one store.
pub(crate) struct Handle<T> {
    store: StoreId,
    item: NonNull<T>,
}

impl<T> Handle<T> {
    /// Names `item`.
    ///
    /// # Safety
    ///
    /// The store with this id keeps the item in place until it is dropped, and only shared
    /// references are made to it.
    pub(crate) const unsafe fn new(store: StoreId, item: NonNull<T>) -> Self {
        Self { store, item }
    }

    /// The item, if it belongs to `store`.
    pub(crate) fn resolve(self, store: &StoreIdentity) -> Result<&T, WrongStore> {
        if self.store != store.id() {
            return Err(WrongStore);
        }
        // SAFETY: the caller of `new` promised that the item lives as long as its store, which is
        // borrowed because nothing else holds its identity.
        Ok(unsafe { self.item.as_ref() })
    }

    /// The address of the item, valid while its store lives.
    pub(crate) const fn as_ptr(self) -> NonNull<T> {
        self.item
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.store == other.store && self.item == other.item
    }
}

impl<T> Eq for Handle<T> {}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p} of store {}", self.item, self.store.0)
    }
}
