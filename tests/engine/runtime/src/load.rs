//! From a compiled module to code that can be entered.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::RefCell;
use core::fmt;
use core::mem;

use vmexternref_core::{
    Matching, ModuleStackMaps, RegisterError, Registration, StackMap, StackMapRegistry,
};
use vmexternref_engine_abi::{CompiledModule, Export, Import, ObjectFile, TEXT_ALIGN};

use crate::check::check;
use crate::code::PlacedCode;
use crate::error::LoadError;
use crate::handle::StoreId;
use crate::owned::{Owned, try_collect};
use crate::store::{Store, StoreInner};

/// A module whose code is in place and whose stack maps are registered.
///
/// It belongs to one store, which keeps it, and takes code and maps back when it is dropped.
pub struct Module {
    store: StoreId,
    /// Without its text and unwind tables, which are in place now.
    compiled: CompiledModule,
    /// The store-wide id of each of its types.
    type_ids: Owned<[u32]>,
    /// `None` once the store is gone, and in a module without any code.
    code: RefCell<Option<LoadedCode>>,
    base: *const u8,
}

impl Module {
    /// Checks the module, places its code and registers its stack maps.
    ///
    /// # Errors
    ///
    /// A module for another machine, one that contradicts itself, or no memory. Nothing is left behind.
    pub fn load(store: &Store, compiled: CompiledModule) -> Result<Rc<Self>, LoadError> {
        Self::load_with(store, compiled, &[])
    }

    /// Checks a module from an object file, places its code and registers its stack maps.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    pub fn load_object(store: &Store, file: ObjectFile) -> Result<Rc<Self>, LoadError> {
        Self::load_with(store, file.module, &file.stack_maps)
    }

    fn load_with(
        store: &Store,
        mut compiled: CompiledModule,
        stack_map_section: &[u8],
    ) -> Result<Rc<Self>, LoadError> {
        check(&compiled)?;
        let inner = store.inner();
        let type_ids = intern_types(inner, &compiled)?;
        let code = if compiled.text.is_empty() {
            None
        } else {
            Some(LoadedCode::new(inner, &compiled, stack_map_section)?)
        };
        drop(mem::take(&mut compiled.text));
        drop(mem::take(&mut compiled.eh_frame));
        drop(mem::take(&mut compiled.safepoints));
        let base = code
            .as_ref()
            .map_or(core::ptr::null(), |code| code.placed.base());
        let mut modules = inner.modules.borrow_mut();
        modules.try_reserve(1).map_err(|_| LoadError::OutOfMemory)?;
        let module = Rc::new(Self {
            store: inner.id(),
            compiled,
            type_ids,
            code: RefCell::new(code),
            base,
        });
        modules.push(Rc::clone(&module));
        drop(modules);
        module.offer_exit_trampolines(inner);
        Ok(module)
    }

    /// What the module needs, in the order in which [`Instance::new`](crate::Instance::new) takes it.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.compiled.imports
    }

    /// What its instances offer.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.compiled.exports
    }

    pub(crate) const fn compiled(&self) -> &CompiledModule {
        &self.compiled
    }

    pub(crate) const fn store(&self) -> StoreId {
        self.store
    }

    pub(crate) fn type_ids(&self) -> &[u32] {
        &self.type_ids
    }

    /// The address of an offset in the text, valid while the store lives.
    pub(crate) const fn address(&self, offset: u32) -> *const u8 {
        self.base.wrapping_add(offset as usize)
    }

    /// Takes code and stack maps back, for the store is going away.
    pub(crate) fn unload(&self) {
        let code = self.code.take();
        drop(code);
    }

    /// Lets compiled code call host functions older than the module.
    fn offer_exit_trampolines(&self, store: &StoreInner) {
        for (&id, &offset) in self.type_ids.iter().zip(&self.compiled.exit_trampolines) {
            let entry = store.types.entry(id);
            if entry.exit_trampoline.get().is_null() {
                entry.exit_trampoline.set(self.address(offset));
            }
        }
        for func in store.host_funcs.addresses() {
            // SAFETY: the store's arena keeps the function in place, and only shared references are made to it.
            let func_ref = unsafe { func.as_ref() }.func_ref();
            if func_ref.wasm_call.get().is_null() {
                let entry = store.types.entry(func_ref.type_id);
                func_ref.wasm_call.set(entry.exit_trampoline.get());
            }
        }
    }
}

fn intern_types(store: &StoreInner, compiled: &CompiledModule) -> Result<Owned<[u32]>, LoadError> {
    let mut ids = alloc::vec::Vec::new();
    ids.try_reserve_exact(compiled.types.len())
        .map_err(|_| LoadError::OutOfMemory)?;
    for ty in &compiled.types {
        ids.push(store.types.intern(ty)?);
    }
    Ok(try_collect(ids.len(), ids.into_iter())?)
}

/// Code in place; dropping it unregisters its stack maps and frees it.
struct LoadedCode {
    /// Taken when dropped.
    registration: Option<Registration>,
    registry: Arc<StackMapRegistry>,
    placed: Box<dyn PlacedCode>,
}

impl LoadedCode {
    fn new(
        store: &StoreInner,
        compiled: &CompiledModule,
        stack_map_section: &[u8],
    ) -> Result<Self, LoadError> {
        let maps = stack_maps(compiled, stack_map_section).map_err(LoadError::StackMaps)?;
        let placed = store
            .placer
            .place(&compiled.text, &compiled.eh_frame, TEXT_ALIGN)
            .map_err(LoadError::Place)?;
        let registry = Arc::clone(&store.registry);
        let base = placed.base().expose_provenance();
        let registration = registry
            .register(base, maps)
            .map_err(LoadError::StackMaps)?;
        Ok(Self {
            registration: Some(registration),
            registry,
            placed,
        })
    }
}

impl Drop for LoadedCode {
    fn drop(&mut self) {
        if let Some(registration) = self.registration.take() {
            // SAFETY: the store that ran this code is gone, or never ran it, so that no frame of it is on a stack.
            let unregistered = unsafe { self.registry.unregister(registration) };
            debug_assert!(unregistered.is_ok(), "the registration is of this registry");
        }
    }
}

/// The stack maps of a module, which stand in its list of safepoints or in a section of its file.
fn stack_maps(compiled: &CompiledModule, section: &[u8]) -> Result<ModuleStackMaps, RegisterError> {
    let bytes = u32::try_from(compiled.text.len()).map_err(|_| RegisterError::AddressOverflow)?;
    let mut maps = ModuleStackMaps::new(bytes, Matching::Exact);
    for range in &compiled.functions {
        maps.function(range.clone())?;
    }
    for safepoint in &compiled.safepoints {
        let map = StackMap::from_byte_offsets(
            Some(safepoint.frame_bytes),
            safepoint.references.iter().copied(),
        )?;
        maps.safepoint(safepoint.return_offset, map)?;
    }
    maps.stack_map_section(section)?;
    Ok(maps)
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}
