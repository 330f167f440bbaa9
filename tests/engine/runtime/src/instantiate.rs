//! Instantiation: link, allocate, initialize, start.

use alloc::rc::Rc;
use core::cell::Cell;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{
    CompiledModule, SegmentMode, VMContext, VMFuncImport, VMFuncRef, VMGlobal, VMMemory, VMTable,
};

use crate::builtins::BUILTINS;
use crate::call::invoke;
use crate::definitions::Definitions;
use crate::error::InstantiateError;
use crate::extern_item::Extern;
use crate::instance::{Instance, InstanceItem, Parts};
use crate::link::{Linked, link};
use crate::load::Module;
use crate::owned::{Owned, try_collect};
use crate::store::Store;
use crate::trap::Trap;

impl Instance {
    /// Makes an instance of `module` with one item per import, in order.
    ///
    /// As the specification says, what active segments wrote to shared tables and memories before something failed
    /// stays written, and functions that are in shared tables by then stay callable.
    ///
    /// # Errors
    ///
    /// An import that is missing or does not fit, a limit or memory that is exhausted, or a trap.
    pub fn new(
        store: &Store,
        module: &Rc<Module>,
        imports: &[Extern],
    ) -> Result<Self, InstantiateError> {
        let inner = store.inner();
        if module.store() != inner.id() {
            return Err(InstantiateError::WrongStore);
        }
        let linked = link(inner, module, imports)?;
        let instance = allocate(store, module, &linked)?;
        initialize(&instance.0).map_err(InstantiateError::Trap)?;
        start(store, &instance.0).map_err(InstantiateError::Trap)?;
        Ok(instance)
    }
}

/// Makes the instance and everything that it defines; on an error, nothing is left behind.
fn allocate(
    store: &Store,
    module: &Rc<Module>,
    linked: &Linked,
) -> Result<Instance, InstantiateError> {
    let inner = store.inner();
    let compiled = module.compiled();
    let mut instance: Rc<MaybeUninit<InstanceItem>> = Rc::new_uninit();
    let vmctx: *const c_void = Rc::as_ptr(&instance).cast();
    let functions = functions(module, linked, vmctx)?;
    let definitions = Definitions::new(inner, compiled, &linked.globals, &functions)?;
    let parts = parts(compiled, linked, &definitions, functions)?;
    let reserved = inner.instances.borrow_mut().try_reserve(1);
    reserved.map_err(|_| OutOfMemory(()))?;
    definitions.keep(inner)?;
    let item = InstanceItem {
        vm: context(store, module, &parts),
        store: inner.id(),
        module: Rc::clone(module),
        parts,
    };
    if let Some(place) = Rc::get_mut(&mut instance) {
        place.write(item);
    }
    // SAFETY: nobody else has the `Rc`, so that `get_mut` found the place and the line above has written to it.
    let instance = unsafe { instance.assume_init() };
    inner.instances.borrow_mut().push(Rc::clone(&instance));
    Ok(Instance(instance))
}

fn parts(
    compiled: &CompiledModule,
    linked: &Linked,
    definitions: &Definitions,
    functions: Owned<[VMFuncRef]>,
) -> Result<Parts, OutOfMemory> {
    let imports = functions.iter().map(|func| VMFuncImport {
        wasm_call: func.wasm_call.get(),
        vmctx: func.vmctx.get(),
    });
    Ok(Parts {
        imports: try_collect(linked.functions.len(), imports)?,
        tables: addresses(
            &linked.tables,
            &definitions.tables,
            <*const _>::cast::<VMTable>,
        )?,
        memories: addresses(
            &linked.memories,
            &definitions.memories,
            <*const _>::cast::<VMMemory>,
        )?,
        globals: addresses(
            &linked.globals,
            &definitions.globals,
            <*const _>::cast::<VMGlobal>,
        )?,
        functions,
        dropped_elements: flags(compiled.elements.len())?,
        dropped_data: flags(compiled.data.len())?,
    })
}

fn context(store: &Store, module: &Module, parts: &Parts) -> VMContext {
    VMContext {
        store: store.context_ptr(),
        builtins: BUILTINS.as_ptr(),
        type_ids: module.type_ids().as_ptr(),
        imports: parts.imports.as_ptr().as_ptr().cast_const().cast(),
        tables: parts.tables.as_ptr().as_ptr().cast_const().cast(),
        memories: parts.memories.as_ptr().as_ptr().cast_const().cast(),
        globals: parts.globals.as_ptr().as_ptr().cast_const().cast(),
        functions: parts.functions.as_ptr().as_ptr().cast_const().cast(),
    }
}

/// All functions of the instance, the imported ones first.
fn functions(
    module: &Module,
    linked: &Linked,
    vmctx: *const c_void,
) -> Result<Owned<[VMFuncRef]>, OutOfMemory> {
    let compiled = module.compiled();
    let imported = linked.functions.iter().map(|func| {
        // SAFETY: linking found the function in this store, which keeps it.
        let func = unsafe { func.as_ref() };
        VMFuncRef {
            wasm_call: func.wasm_call.clone(),
            vmctx: func.vmctx.clone(),
            ..*func
        }
    });
    let types = compiled.function_types.iter().skip(linked.functions.len());
    let defined = compiled.functions.iter().zip(types).map(|(range, &ty)| {
        let ty = ty as usize;
        VMFuncRef {
            wasm_call: Cell::new(module.address(range.start)),
            vmctx: Cell::new(vmctx),
            type_id: module.type_ids()[ty],
            entry: module.address(compiled.entry_trampolines[ty]),
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

/// Copies active segments, tables first, and drops what is not passive.
fn initialize(instance: &InstanceItem) -> Result<(), Trap> {
    let compiled = instance.module.compiled();
    for (index, segment) in (0..).zip(&compiled.elements) {
        if let SegmentMode::Active { index: to, offset } = segment.mode {
            // SAFETY: the instance's globals live as long as its store.
            let offset = unsafe { instance.scope().offset(offset) };
            let count = len(&segment.items);
            instance.table_init(to, index, offset, 0, count)?;
        }
        if segment.mode != SegmentMode::Passive {
            instance.elem_drop(index);
        }
    }
    for (index, segment) in (0..).zip(&compiled.data) {
        if let SegmentMode::Active { index: to, offset } = segment.mode {
            // SAFETY: the instance's globals live as long as its store.
            let offset = unsafe { instance.scope().offset(offset) };
            let count = len(&segment.bytes);
            instance.memory_init(to, index, offset, 0, count)?;
        }
        if segment.mode != SegmentMode::Passive {
            instance.data_drop(index);
        }
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "`check` found every segment's length to be a u32"
)]
const fn len<T>(segment: &[T]) -> u32 {
    segment.len() as u32
}

fn start(store: &Store, instance: &InstanceItem) -> Result<(), Trap> {
    match instance.module.compiled().start {
        None => Ok(()),
        Some(index) => {
            let func = &instance.parts.functions[index as usize];
            // SAFETY: `check` found that the start function takes and returns nothing.
            unsafe { invoke(store, func, ptr::null_mut()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use alloc::{format, vec};

    use vmexternref_engine_abi::{
        CompiledModule, ConstExpr, DataSegment, ElementSegment, Export, ExportItem, ExternType,
        FuncType, GlobalDefinition, GlobalType, Import, MemoryType, SegmentMode, TableType, Target,
        ValType,
    };

    use crate::error::InstantiateError;
    use crate::extern_item::Extern;
    use crate::func::Func;
    use crate::global::Global;
    use crate::instance::Instance;
    use crate::linker::Linker;
    use crate::load::Module;
    use crate::memory::Memory;
    use crate::store::Store;
    use crate::table::Table;
    use crate::testing::{Alive, object, store};
    use crate::val::Val;

    const OBJECT: GlobalType = GlobalType {
        value: ValType::ExternRef,
        mutable: false,
    };
    const PAGE: MemoryType = MemoryType {
        minimum: 1,
        maximum: None,
    };
    const OBJECTS: TableType = TableType {
        element: ValType::ExternRef,
        minimum: 2,
        maximum: None,
    };

    fn module() -> CompiledModule {
        CompiledModule::new(Target::HOST, false)
    }

    fn import(name: &str, ty: ExternType) -> Import {
        Import {
            module: String::from("m"),
            name: String::from(name),
            ty,
        }
    }

    fn active(at: i32) -> SegmentMode {
        SegmentMode::Active {
            index: 0,
            offset: ConstExpr::I32Const(at),
        }
    }

    fn instantiate(
        store: &Store,
        compiled: CompiledModule,
        imports: &[Extern],
    ) -> Result<Instance, InstantiateError> {
        let module = Module::load(store, compiled).unwrap();
        Instance::new(store, &module, imports)
    }

    fn exporting_everything() -> CompiledModule {
        let items = [
            ("table", ExportItem::Table(0)),
            ("memory", ExportItem::Memory(0)),
            ("imported", ExportItem::Global(0)),
            ("copied", ExportItem::Global(1)),
        ];
        CompiledModule {
            imports: vec![import("object", ExternType::Global(OBJECT))],
            tables: vec![OBJECTS],
            memories: vec![PAGE],
            globals: vec![GlobalDefinition {
                ty: OBJECT,
                init: ConstExpr::GlobalGet(0),
            }],
            exports: items
                .map(|(name, item)| Export {
                    name: String::from(name),
                    item,
                })
                .to_vec(),
            elements: vec![ElementSegment {
                mode: active(0),
                ty: ValType::ExternRef,
                items: vec![ConstExpr::GlobalGet(0); 2],
            }],
            data: vec![DataSegment {
                mode: active(3),
                bytes: b"data".to_vec(),
            }],
            ..module()
        }
    }

    #[test]
    fn segments_and_globals_are_initialized_and_counted() {
        let (store, alive) = (store(), Alive::default());
        let val = alive.val();
        let global = Global::new(&store, OBJECT, &val).unwrap();
        let instance = instantiate(&store, exporting_everything(), &[global.into()]).unwrap();
        // The test, two globals, two elements.
        assert_eq!(object(&val).unwrap().strong_count(), 5);
        let memory = instance.export("memory").and_then(Extern::into_memory);
        let mut bytes = [0; 5];
        memory.unwrap().read(&store, 2, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0data");
        let imported = instance.export("imported").and_then(Extern::into_global);
        assert_eq!(imported, Some(global));
        assert_eq!(instance.exports().count(), 4);
        drop((val, store));
        assert_eq!(alive.count(), 0);
        assert!(instance.export("nothing").is_none());
    }

    #[test]
    fn imports_are_matched_by_name_and_type() {
        let store = store();
        let compiled = || CompiledModule {
            imports: vec![import("f", ExternType::Memory(PAGE))],
            ..module()
        };
        let error = instantiate(&store, compiled(), &[]).unwrap_err();
        assert_eq!(error.to_string(), r#"unknown import "m" "f""#);
        let func = Func::host(&store, FuncType::new([], []), |_, _, _| Ok(())).unwrap();
        let error = instantiate(&store, compiled(), &[func.into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"incompatible import type for "m" "f": expected memory 1, found func [] -> []"#
        );
        let memory = Memory::new(&store, PAGE).unwrap();
        let error = instantiate(&store, module(), &[memory.into()]).unwrap_err();
        assert_eq!(error.to_string(), "too many imports: expected 0, found 1");
        let foreign = Memory::new(&crate::testing::store(), PAGE).unwrap();
        let error = instantiate(&store, compiled(), &[foreign.into()]).unwrap_err();
        assert_eq!(error, InstantiateError::WrongStore);
        let mut linker = Linker::new();
        let module = Module::load(&store, compiled()).unwrap();
        assert!(linker.instantiate(&store, &module).is_err());
        linker.define("m", "f", memory);
        assert!(linker.instantiate(&store, &module).is_ok());
    }

    #[test]
    fn what_was_written_before_a_segment_failed_stays() {
        let (store, alive) = (store(), Alive::default());
        let val = alive.val();
        let table = Table::new(&store, OBJECTS, &Val::ExternRef(None)).unwrap();
        let global = Global::new(&store, OBJECT, &val).unwrap();
        let segment = |at| ElementSegment {
            mode: active(at),
            ty: ValType::ExternRef,
            items: vec![ConstExpr::GlobalGet(0)],
        };
        let compiled = CompiledModule {
            imports: vec![
                import("object", ExternType::Global(OBJECT)),
                import("table", ExternType::Table(OBJECTS)),
            ],
            elements: vec![segment(1), segment(2)],
            ..module()
        };
        let imports = [global.into(), table.into()];
        let error = instantiate(&store, compiled, &imports).unwrap_err();
        assert_eq!(error.to_string(), "out of bounds table access");
        let element = table.at(&store, 1).unwrap();
        assert!(object(&element).is_some());
        assert!(object(&table.at(&store, 0).unwrap()).is_none());
    }

    #[test]
    fn limits_are_errors() {
        let store = store();
        let large = CompiledModule {
            memories: vec![MemoryType {
                minimum: 5,
                maximum: None,
            }],
            ..module()
        };
        let error = instantiate(&store, large, &[]).unwrap_err();
        assert_eq!(error, InstantiateError::MemoryLimit { pages: 5 });
        let large = CompiledModule {
            tables: vec![TableType {
                minimum: 1000,
                ..OBJECTS
            }],
            ..module()
        };
        let error = instantiate(&store, large, &[]).unwrap_err();
        assert_eq!(error, InstantiateError::TableLimit { elements: 1000 });
    }

    #[test]
    fn modules_that_contradict_themselves_are_refused() {
        let store = store();
        let expr = ConstExpr::RefFunc(0);
        let global = |init| GlobalDefinition { ty: OBJECT, init };
        let bad: Vec<CompiledModule> = vec![
            CompiledModule {
                start: Some(0),
                ..module()
            },
            CompiledModule {
                text: vec![0; 3],
                ..module()
            },
            CompiledModule {
                types: vec![FuncType::new([], [])],
                ..module()
            },
            CompiledModule {
                globals: vec![global(expr)],
                ..module()
            },
            CompiledModule {
                globals: vec![global(ConstExpr::GlobalGet(0))],
                ..module()
            },
            CompiledModule {
                data: vec![DataSegment {
                    mode: active(0),
                    bytes: Vec::new(),
                }],
                ..module()
            },
            CompiledModule {
                elements: vec![ElementSegment {
                    mode: active(0),
                    ty: ValType::FuncRef,
                    items: Vec::new(),
                }],
                ..module()
            },
            CompiledModule {
                exports: vec![Export {
                    name: String::from("f"),
                    item: ExportItem::Func(0),
                }],
                ..module()
            },
        ];
        for (index, compiled) in bad.into_iter().enumerate() {
            let error = Module::load(&store, compiled).unwrap_err().to_string();
            let expected = "malformed compiled module: ";
            assert!(
                error.starts_with(expected),
                "{}",
                format!("{index}: {error}")
            );
        }
    }
}
