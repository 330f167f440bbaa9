//! The parts of a new instance.

use crate::activation::BUILTINS;
use crate::code::Module;
use crate::heap::{Owned, try_collect};
use crate::instantiation::definitions::Definitions;
use crate::instantiation::imports::Imports;
use crate::item::Parts;
use crate::store::Store;
use core::cell::Cell;
use core::ptr::{self, NonNull};
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{
    CompiledModule, VMContext, VMFuncImport, VMFuncRef, VMGlobal, VMMemory, VMTable,
};

impl Parts {
    /// The parts of an instance with these imports, definitions and functions.
    pub(crate) fn new(
        compiled: &CompiledModule,
        imports: &Imports,
        definitions: &Definitions,
        functions: Owned<[VMFuncRef]>,
    ) -> Result<Self, OutOfMemory> {
        let func_imports = functions.iter().map(|func| VMFuncImport {
            wasm_call: func.wasm_call.get(),
            vmctx: func.vmctx.get(),
        });
        Ok(Self {
            imports: try_collect(imports.functions.len(), func_imports)?,
            tables: addresses(
                &imports.tables,
                &definitions.tables,
                <*const _>::cast::<VMTable>,
            )?,
            memories: addresses(
                &imports.memories,
                &definitions.memories,
                <*const _>::cast::<VMMemory>,
            )?,
            globals: addresses(
                &imports.globals,
                &definitions.globals,
                <*const _>::cast::<VMGlobal>,
            )?,
            functions,
            dropped_elements: flags(compiled.elements.len())?,
            dropped_data: flags(compiled.data.len())?,
        })
    }

    /// The context that points to these parts.
    pub(crate) fn context(&self, store: &Store, module: &Module) -> VMContext {
        VMContext {
            store: store.context_ptr(),
            builtins: BUILTINS.as_ptr(),
            type_ids: module.type_ids().as_ptr(),
            imports: self.imports.as_ptr().as_ptr().cast_const().cast(),
            tables: self.tables.as_ptr().as_ptr().cast_const().cast(),
            memories: self.memories.as_ptr().as_ptr().cast_const().cast(),
            globals: self.globals.as_ptr().as_ptr().cast_const().cast(),
            functions: self.functions.as_ptr().as_ptr().cast_const().cast(),
        }
    }
}

/// All functions of an instance, the imported ones first.
///
/// Those that it defines have no `vmctx` yet.
pub(crate) fn functions(
    module: &Module,
    imports: &Imports,
) -> Result<Owned<[VMFuncRef]>, OutOfMemory> {
    let compiled = module.compiled();
    let imported = imports.functions.iter().map(|func| {
        // SAFETY: `Imports` holds functions of this store, which keeps them.
        let func = unsafe { func.as_ref() };
        VMFuncRef {
            wasm_call: func.wasm_call.clone(),
            vmctx: func.vmctx.clone(),
            ..*func
        }
    });
    let types = compiled.function_types.iter().skip(imports.functions.len());
    let defined = compiled.functions.iter().zip(types).map(|(range, &ty)| {
        let ty = ty as usize;
        VMFuncRef {
            wasm_call: Cell::new(module.address(range.start)),
            vmctx: Cell::new(ptr::null()),
            type_id: module.type_ids()[ty],
            entry: compiled.entry_trampolines[ty].map_or(ptr::null(), |at| module.address(at)),
        }
    });
    try_collect(compiled.function_types.len(), imported.chain(defined))
}

/// The addresses of all items of one kind, the imported ones first.
fn addresses<T, V>(
    imported: &[NonNull<T>],
    defined: &[Owned<T>],
    first_field: impl Fn(*const T) -> *const V,
) -> Result<Owned<[*const V]>, OutOfMemory> {
    let defined_addresses = defined.iter().map(Owned::as_ptr);
    let all = imported.iter().copied().chain(defined_addresses);
    try_collect(
        imported.len() + defined.len(),
        all.map(|item| first_field(item.as_ptr())),
    )
}

fn flags(len: usize) -> Result<Owned<[Cell<bool>]>, OutOfMemory> {
    try_collect(len, (0..len).map(|_| Cell::new(false)))
}
