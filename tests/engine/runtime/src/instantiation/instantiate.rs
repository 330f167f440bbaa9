//! Instantiation: match imports, allocate, initialize, start.

use crate::activation::invoke;
use crate::code::Module;
use crate::error::{InstantiateError, Trap};
use crate::external::Extern;
use crate::heap::{Shared, try_reserve};
use crate::instantiation::definitions::Definitions;
use crate::instantiation::imports::Imports;
use crate::instantiation::instance::Instance;
use crate::instantiation::parts::functions;
use crate::item::{InstanceItem, Parts};
use crate::store::Store;
use core::ptr;
use vmexternref_engine_abi::{SegmentMode, TrapCode};

impl Instance {
    /// Makes an instance of `module` with one item per import, in order.
    ///
    /// After an error, what active segments have written to shared tables and memories stays
    /// written, and functions in shared tables stay callable. The specification asks for that.
    ///
    /// # Errors
    ///
    /// An import that is missing or does not fit, a limit or memory that is exhausted, or a trap.
    pub fn new(
        store: &Store,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Self, InstantiateError> {
        let inner = store.inner();
        if module.store() != inner.id() {
            return Err(InstantiateError::WrongStore);
        }
        let imports = Imports::new(inner, module, imports)?;
        let instance = allocate(store, module, &imports)?;
        initialize(&instance.0).map_err(|code| InstantiateError::Trap(code.into()))?;
        start(store, &instance.0).map_err(InstantiateError::Trap)?;
        Ok(instance)
    }
}

/// Makes the instance and everything that its module defines. After an error, nothing is left
/// behind.
fn allocate(
    store: &Store,
    module: &Module,
    imports: &Imports,
) -> Result<Instance, InstantiateError> {
    let inner = store.inner();
    let compiled = module.compiled();
    let functions = functions(module, imports)?;
    let definitions = Definitions::new(inner, compiled, &imports.globals, &functions)?;
    let parts = Parts::new(compiled, imports, &definitions, functions)?;
    let instance = Shared::try_new(InstanceItem {
        vm: parts.context(store, module),
        store: inner.id(),
        module: module.clone(),
        parts,
    })?;
    let defined = &instance.parts.functions[imports.functions.len()..];
    for func in defined {
        func.vmctx.set(Shared::as_ptr(&instance).cast());
    }
    try_reserve(&mut inner.instances.borrow_mut(), 1)?;
    definitions.keep(inner)?;
    inner.instances.borrow_mut().push(instance.clone());
    Ok(Instance(instance))
}

/// Copies active segments, those of tables first, and drops all segments that are not passive.
fn initialize(instance: &InstanceItem) -> Result<(), TrapCode> {
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
    use crate::code::Module;
    use crate::error::{AccessError, InstantiateError};
    use crate::external::{Extern, Global, Memory, Table};
    use crate::instantiation::instance::Instance;
    use crate::instantiation::linker::Linker;
    use crate::store::Store;
    use crate::testing::{Alive, object, store};
    use crate::value::{Func, Val};
    use alloc::string::{String, ToString};
    use alloc::vec;
    use vmexternref_engine_abi::{
        CompiledModule, ConstExpr, DataSegment, ElementSegment, Export, ExportItem, ExternType,
        FuncType, GlobalDefinition, GlobalType, Import, MemoryType, SegmentMode, TableType, Target,
        ValType,
    };

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
        let table = instance.export("table").and_then(Extern::into_table);
        assert_eq!(table.unwrap().size(&store), Ok(2));
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
        linker.define("m", "f", memory).unwrap();
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

    /// Memories and tables together, also those of other instances.
    #[test]
    fn the_bytes_of_a_store_are_limited() {
        let store = store();
        let bytes = store.limits().max_bytes;
        let pages = |minimum| MemoryType {
            minimum,
            maximum: None,
        };
        let compiled = |memory, elements| CompiledModule {
            memories: vec![pages(memory)],
            tables: vec![TableType {
                minimum: elements,
                ..OBJECTS
            }],
            ..module()
        };
        let limit = InstantiateError::StoreLimit { bytes };
        assert_eq!(
            limit.to_string(),
            "limit exceeded: more than 524288 bytes of memories and tables"
        );
        let refused = Err(limit);
        instantiate(&store, compiled(4, 0), &[]).unwrap();
        assert_eq!(instantiate(&store, compiled(4, 1), &[]).map(drop), refused);
        instantiate(&store, compiled(2, 1), &[]).unwrap();
        assert_eq!(instantiate(&store, compiled(2, 0), &[]).map(drop), refused);
        let memory = Memory::new(&store, pages(1)).unwrap();
        let limit = Err(AccessError::StoreLimitReached);
        assert_eq!(memory.grow(&store, 1), limit);
        assert_eq!(Memory::new(&store, pages(1)).map(drop), limit.map(drop));
        let null = Val::ExternRef(None);
        let table = Table::new(&store, OBJECTS, &null).unwrap();
        assert_eq!(table.grow(&store, 50, &null), Ok(2));
    }
}
