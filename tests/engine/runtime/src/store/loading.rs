//! Loading: from a compiled module to code that can run.

use crate::code::{LoadedCode, Module, check};
use crate::error::LoadError;
use crate::heap::try_reserve;
use crate::store::store_handle::Store;
use crate::store::store_inner::StoreInner;
use core::mem;
use core::ptr;
use vmexternref_engine_abi::{CompiledModule, ObjectFile};

impl Module {
    /// Checks the module, places its code and registers its stack maps.
    ///
    /// # Errors
    ///
    /// A module for another machine, a module that contradicts itself, or no memory. Nothing is
    /// left behind.
    pub fn load(store: &Store, compiled: CompiledModule) -> Result<Self, LoadError> {
        load(store.inner(), compiled)
    }

    /// Checks a module from an object file, places its code and registers its stack maps.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    pub fn load_object(store: &Store, file: ObjectFile) -> Result<Self, LoadError> {
        Self::load(store, file.module)
    }
}

fn load(store: &StoreInner, mut compiled: CompiledModule) -> Result<Module, LoadError> {
    check(&compiled, store.engine.target())?;
    let type_ids = store.types.intern_all(&compiled.types)?;
    let code = place(store, &mut compiled)?;
    let base = code.as_ref().map_or(ptr::null(), LoadedCode::base);
    drop(mem::take(&mut compiled.text));
    drop(mem::take(&mut compiled.eh_frame));
    drop(mem::take(&mut compiled.stack_maps));
    drop(mem::take(&mut compiled.return_addresses));
    try_reserve(&mut store.code.borrow_mut(), 1)?;
    let module = Module::try_new(store.id(), compiled, type_ids, base)?;
    store.code.borrow_mut().extend(code);
    offer_exit_trampolines(store, &module);
    Ok(module)
}

/// Places the module's code, if it has some.
fn place(
    store: &StoreInner,
    compiled: &mut CompiledModule,
) -> Result<Option<LoadedCode>, LoadError> {
    if compiled.text.is_empty() {
        return Ok(None);
    }
    // SAFETY: the code is dropped before it can run, or together with the store, which every call
    // into it borrows.
    let code = unsafe {
        LoadedCode::new(&store.registry, compiled, |compiled| {
            store.engine.place(compiled)
        })
    };
    code.map(Some)
}

/// Lets compiled code call host functions older than the module.
fn offer_exit_trampolines(store: &StoreInner, module: &Module) {
    let trampolines = &module.compiled().exit_trampolines;
    for (&id, &offset) in module.type_ids().iter().zip(trampolines) {
        let entry = store.types.entry(id);
        if let Some(offset) = offset
            && entry.exit_trampoline.get().is_null()
        {
            entry.exit_trampoline.set(module.address(offset));
        }
    }
    for func in store.host_funcs.addresses() {
        // SAFETY: the store's arena keeps the function in place, and only shared references are
        // made to it.
        let func_ref = unsafe { func.as_ref() }.func_ref();
        if func_ref.wasm_call.get().is_null() {
            let entry = store.types.entry(func_ref.type_id);
            func_ref.wasm_call.set(entry.exit_trampoline.get());
        }
    }
}
