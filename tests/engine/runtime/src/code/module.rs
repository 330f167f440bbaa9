//! Loaded modules.

use crate::heap::Owned;
use crate::value::StoreId;
use core::fmt;
use vmexternref_engine_abi::{CompiledModule, Export, Import};

/// A module whose code is in place and whose stack maps are registered.
///
/// It belongs to one store. Code and stack maps stay in place until that store is dropped.
pub struct Module {
    store: StoreId,
    compiled: CompiledModule,
    type_ids: Owned<[u32]>,
    base: *const u8,
}

impl Module {
    /// A module of the store with this id.
    ///
    /// `compiled` needs no code. `type_ids` are the store-wide ids of the module's types, and
    /// `base` is the address of its text.
    pub(crate) const fn new(
        store: StoreId,
        compiled: CompiledModule,
        type_ids: Owned<[u32]>,
        base: *const u8,
    ) -> Self {
        Self {
            store,
            compiled,
            type_ids,
            base,
        }
    }

    /// The imports, in the order in which [`Instance::new`](crate::Instance::new) takes items for
    /// them.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.compiled.imports
    }

    /// The exports of its instances.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.compiled.exports
    }

    /// The address of its text, null if there is no code.
    #[must_use]
    pub const fn base(&self) -> *const u8 {
        self.base
    }

    /// Its description; text, unwind tables and stack maps are empty.
    pub(crate) const fn compiled(&self) -> &CompiledModule {
        &self.compiled
    }

    /// The store that it belongs to.
    pub(crate) const fn store(&self) -> StoreId {
        self.store
    }

    /// The store-wide id of each of its types.
    pub(crate) fn type_ids(&self) -> &[u32] {
        &self.type_ids
    }

    /// The address of an offset in the text, valid while the store lives.
    pub(crate) const fn address(&self, offset: u32) -> *const u8 {
        self.base.wrapping_add(offset as usize)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}
