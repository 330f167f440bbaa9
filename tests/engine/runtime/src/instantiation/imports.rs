//! Matching of items to imports.

use crate::code::Module;
use crate::error::{AccessError, InstantiateError, WrongStore};
use crate::external::Extern;
use crate::heap::{try_push, try_to_string};
use crate::item::{GlobalItem, MemoryItem, TableItem};
use crate::store::StoreInner;
use crate::value::Handle;
use alloc::vec::Vec;
use core::ptr::NonNull;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{ExternType, Import, VMFuncRef};

/// The imported items of an instance, by kind; each has the type that its import asks for.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    pub(crate) functions: Vec<NonNull<VMFuncRef>>,
    pub(crate) tables: Vec<NonNull<TableItem>>,
    pub(crate) memories: Vec<NonNull<MemoryItem>>,
    pub(crate) globals: Vec<NonNull<GlobalItem>>,
}

impl Imports {
    /// Matches one item to each import of `module`.
    pub(crate) fn new(
        store: &StoreInner,
        module: &Module,
        items: &[Extern],
    ) -> Result<Self, InstantiateError> {
        let wanted = module.imports();
        if items.len() > wanted.len() {
            return Err(InstantiateError::TooManyImports {
                expected: wanted.len(),
                found: items.len(),
            });
        }
        let mut imports = Self::default();
        for (index, import) in wanted.iter().enumerate() {
            let item = items.get(index).ok_or_else(|| unknown(import))?;
            if !fits(store, item, &import.ty)? {
                return Err(incompatible(store, import, item));
            }
            match item {
                Extern::Func(func) => push(&mut imports.functions, func.0),
                Extern::Table(table) => push(&mut imports.tables, table.0),
                Extern::Memory(memory) => push(&mut imports.memories, memory.0),
                Extern::Global(global) => push(&mut imports.globals, global.0),
            }?;
        }
        Ok(imports)
    }
}

fn push<T>(items: &mut Vec<NonNull<T>>, item: Handle<T>) -> Result<(), OutOfMemory> {
    try_push(items, item.as_ptr())
}

/// The error for an import that has no item, or for no memory.
#[cold]
pub(crate) fn unknown(import: &Import) -> InstantiateError {
    let named = || {
        Ok(InstantiateError::UnknownImport {
            module: try_to_string(&import.module)?,
            name: try_to_string(&import.name)?,
        })
    };
    named().unwrap_or_else(|error: OutOfMemory| error.into())
}

/// The error for an import whose item has another type, or for no memory.
#[cold]
fn incompatible(store: &StoreInner, import: &Import, item: &Extern) -> InstantiateError {
    let described = || {
        Ok(InstantiateError::IncompatibleImport {
            module: try_to_string(&import.module)?,
            name: try_to_string(&import.name)?,
            expected: try_to_string(&import.ty)?,
            found: try_to_string(item.type_in(store)?)?,
        })
    };
    described().unwrap_or_else(|error: AccessError| match error {
        AccessError::WrongStore => InstantiateError::WrongStore,
        _ => InstantiateError::OutOfMemory,
    })
}

/// Whether an item, with its present size, may be imported as `wanted`.
fn fits(store: &StoreInner, item: &Extern, wanted: &ExternType) -> Result<bool, WrongStore> {
    let identity = store.identity();
    Ok(match item {
        Extern::Func(func) => {
            let found = store.type_of(func.0.resolve(identity)?);
            matches!(wanted, ExternType::Func(wanted) if wanted == found)
        }
        Extern::Table(table) => {
            let found = table.0.resolve(identity)?.ty();
            matches!(wanted, ExternType::Table(wanted) if found.element == wanted.element
                && found.minimum >= wanted.minimum
                && within(found.maximum, wanted.maximum))
        }
        Extern::Memory(memory) => {
            let found = memory.0.resolve(identity)?.ty();
            matches!(wanted, ExternType::Memory(wanted) if found.minimum >= wanted.minimum
                && within(found.maximum, wanted.maximum))
        }
        Extern::Global(global) => {
            let found = global.0.resolve(identity)?.ty();
            matches!(wanted, ExternType::Global(wanted) if *wanted == found)
        }
    })
}

fn within(found: Option<u32>, wanted: Option<u32>) -> bool {
    match (found, wanted) {
        (_, None) => true,
        (Some(found), Some(wanted)) => found <= wanted,
        (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::fits;
    use crate::external::{Extern, Global, Memory, Table};
    use crate::store::Store;
    use crate::testing::store;
    use crate::value::{Func, Val};
    use vmexternref_engine_abi::{
        ExternType, FuncType, GlobalType, MemoryType, TableType, ValType,
    };

    fn memory(minimum: u32, maximum: Option<u32>) -> ExternType {
        ExternType::Memory(MemoryType { minimum, maximum })
    }

    fn table(element: ValType, maximum: Option<u32>) -> ExternType {
        ExternType::Table(TableType {
            element,
            minimum: 1,
            maximum,
        })
    }

    fn global(value: ValType, mutable: bool) -> ExternType {
        ExternType::Global(GlobalType { value, mutable })
    }

    /// An item of that type.
    fn item(store: &Store, ty: &ExternType) -> Extern {
        match ty {
            ExternType::Func(ty) => {
                let func = Func::host(store, ty.clone(), |_, _, _| Ok(()));
                func.unwrap().into()
            }
            ExternType::Table(ty) => {
                let table = Table::new(store, *ty, &Val::default_for(ty.element));
                table.unwrap().into()
            }
            ExternType::Memory(ty) => Memory::new(store, *ty).unwrap().into(),
            ExternType::Global(ty) => {
                let global = Global::new(store, *ty, &Val::default_for(ty.value));
                global.unwrap().into()
            }
        }
    }

    fn check(expected: bool, found: &ExternType, wanted: &ExternType) {
        let store = store();
        let item = item(&store, found);
        let fits = fits(store.inner(), &item, wanted);
        assert_eq!(fits, Ok(expected), "{found} as {wanted}");
    }

    #[test]
    fn limits_may_only_be_stricter_than_asked_for() {
        check(true, &memory(2, Some(3)), &memory(1, Some(3)));
        check(true, &memory(2, Some(3)), &memory(2, None));
        check(false, &memory(1, Some(3)), &memory(2, Some(3)));
        check(false, &memory(2, Some(4)), &memory(2, Some(3)));
        check(false, &memory(2, None), &memory(2, Some(3)));
        let objects = |maximum| table(ValType::ExternRef, maximum);
        check(true, &objects(Some(1)), &objects(Some(2)));
        check(false, &objects(None), &objects(Some(2)));
    }

    #[test]
    fn present_sizes_count() {
        let store = store();
        let growing = Memory::new(
            &store,
            MemoryType {
                minimum: 1,
                maximum: None,
            },
        )
        .unwrap();
        let fits = |wanted| fits(store.inner(), &growing.into(), &wanted);
        assert_eq!(fits(memory(2, None)), Ok(false));
        growing.grow(&store, 1).unwrap();
        assert_eq!(fits(memory(2, None)), Ok(true));
    }

    #[test]
    fn elements_values_and_mutability_must_be_the_same() {
        let objects = table(ValType::ExternRef, None);
        check(true, &objects, &objects);
        check(false, &objects, &table(ValType::FuncRef, None));
        let counter = global(ValType::I32, true);
        check(true, &counter, &counter);
        check(false, &counter, &global(ValType::I32, false));
        check(false, &counter, &global(ValType::I64, true));
        let func = ExternType::Func(FuncType::new([ValType::I32], []));
        check(true, &func, &func);
        check(false, &func, &ExternType::Func(FuncType::new([], [])));
        check(false, &func, &counter);
        check(false, &counter, &func);
    }
}
