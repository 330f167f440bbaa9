//! Loaded modules.

use crate::heap::{Owned, Shared};
use crate::value::StoreId;
use core::fmt;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{CompiledModule, Export, Import};

/// A module whose code is in place and whose stack maps are registered.
///
/// It is a cheap handle, and belongs to one store. Code and stack maps stay in place until that
/// store is dropped.
#[derive(Clone)]
pub struct Module(Shared<Description>);

struct Description {
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
    pub(crate) fn try_new(
        store: StoreId,
        compiled: CompiledModule,
        type_ids: Owned<[u32]>,
        base: *const u8,
    ) -> Result<Self, OutOfMemory> {
        let description = Shared::try_new(Description {
            store,
            compiled,
            type_ids,
            base,
        })?;
        Ok(Self(description))
    }

    /// The imports, in the order in which [`Instance::new`](crate::Instance::new) takes items for
    /// them.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.0.compiled.imports
    }

    /// The exports of its instances.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.0.compiled.exports
    }

    /// The address of its text, null if there is no code.
    #[must_use]
    pub fn base(&self) -> *const u8 {
        self.0.base
    }

    /// Its description; text, unwind tables and stack maps are empty.
    pub(crate) fn compiled(&self) -> &CompiledModule {
        &self.0.compiled
    }

    /// The store that it belongs to.
    pub(crate) fn store(&self) -> StoreId {
        self.0.store
    }

    /// The store-wide id of each of its types.
    pub(crate) fn type_ids(&self) -> &[u32] {
        &self.0.type_ids
    }

    /// The address of an offset in the text, valid while the store lives.
    pub(crate) fn address(&self, offset: u32) -> *const u8 {
        self.0.base.wrapping_add(offset as usize)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("base", &self.base())
            .finish_non_exhaustive()
    }
}
