//! The check of a compiled module.
//!
//! A module from a file may contradict itself. After the check, no index in it makes the runtime
//! panic or read outside an array. The machine code itself cannot be checked.

use crate::error::LoadError;
use crate::heap::try_push;
use alloc::vec::Vec;
use core::ops::Range;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{
    Architecture, CompiledModule, ConstExpr, ExportItem, ExternType, GlobalType, MemoryType,
    SegmentMode, TEXT_ALIGN, TableType, Target, ValType,
};

/// Checks everything that loading and instantiation rely on, in a store of code for `target`.
pub(crate) fn check(module: &CompiledModule, target: Target) -> Result<(), LoadError> {
    let found = module.target;
    if found != target || found.architecture == Architecture::Other {
        return Err(LoadError::WrongTarget {
            found,
            expected: target,
        });
    }
    let spaces = Spaces::new(module)?;
    check_code(module)
        .and_then(|()| check_definitions(module, &spaces))
        .and_then(|()| check_segments(module, &spaces))
        .and_then(|()| check_uses(module, &spaces))
        .and_then(|()| check_trampolines(module))
        .map_err(LoadError::Malformed)
}

/// The index spaces of a module other than that of functions.
struct Spaces<'m> {
    /// The type of each table, the imported ones first.
    tables: Vec<&'m TableType>,
    /// The type of each memory, the imported ones first.
    memories: Vec<&'m MemoryType>,
    /// The type of each imported global.
    imported_globals: Vec<&'m GlobalType>,
}

impl<'m> Spaces<'m> {
    fn new(module: &'m CompiledModule) -> Result<Self, OutOfMemory> {
        let tables = module.imports.iter().filter_map(|import| match &import.ty {
            ExternType::Table(ty) => Some(ty),
            _ => None,
        });
        let memories = module.imports.iter().filter_map(|import| match &import.ty {
            ExternType::Memory(ty) => Some(ty),
            _ => None,
        });
        let globals = module.imports.iter().filter_map(|import| match &import.ty {
            ExternType::Global(ty) => Some(ty),
            _ => None,
        });
        Ok(Self {
            tables: try_list(tables.chain(&module.tables))?,
            memories: try_list(memories.chain(&module.memories))?,
            imported_globals: try_list(globals)?,
        })
    }
}

fn try_list<T>(items: impl Iterator<Item = T>) -> Result<Vec<T>, OutOfMemory> {
    let mut list = Vec::new();
    for item in items {
        try_push(&mut list, item)?;
    }
    Ok(list)
}

type Checked = Result<(), &'static str>;

fn require(holds: bool, otherwise: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn check_code(module: &CompiledModule) -> Checked {
    let len = u32::try_from(module.text.len()).map_err(|_| "the text is too long")?;
    require(
        module.text.len().is_multiple_of(TEXT_ALIGN),
        "the text's length is not aligned",
    )?;
    let inside = |range: &Range<u32>| range.start < range.end && range.end <= len;
    require(
        module.functions.iter().all(inside),
        "a function outside the text",
    )?;
    let trampolines = [&module.entry_trampolines, &module.exit_trampolines];
    require(
        trampolines
            .iter()
            .all(|all| all.len() == module.types.len()),
        "not one trampoline per type",
    )?;
    require(
        trampolines
            .into_iter()
            .flatten()
            .flatten()
            .all(|&start| start < len),
        "a trampoline outside the text",
    )
}

/// The host calls functions that the module gives away, and the module calls the imported ones.
fn check_trampolines(module: &CompiledModule) -> Checked {
    let imported = module.imported_functions();
    let has = |trampolines: &[Option<u32>], function: u32| {
        let ty = module.function_types[function as usize];
        trampolines[ty as usize].is_some()
    };
    let defined = |&function: &u32| function as usize >= imported;
    require(
        module
            .given_away()
            .filter(defined)
            .all(|function| has(&module.entry_trampolines, function)),
        "a function that the host cannot call",
    )?;
    require(
        (0..)
            .take(imported)
            .all(|function| has(&module.exit_trampolines, function)),
        "an imported function that the code cannot call",
    )
}

fn check_definitions(module: &CompiledModule, spaces: &Spaces<'_>) -> Checked {
    let imported = module.imported_functions();
    require(
        module.function_types.len() == imported + module.functions.len(),
        "not one type per function",
    )?;
    let known = |&ty: &u32| (ty as usize) < module.types.len();
    require(
        module.function_types.iter().all(known),
        "a function of unknown type",
    )?;
    let needed = module.imports.iter().filter_map(|import| match &import.ty {
        ExternType::Func(ty) => Some(ty),
        _ => None,
    });
    require(
        needed
            .zip(&module.function_types)
            .all(|(ty, &index)| module.types[index as usize] == *ty),
        "an imported function of two types",
    )?;
    require(
        spaces.tables.iter().all(|table| table.is_valid()),
        "an impossible table",
    )?;
    require(
        spaces.memories.iter().all(|memory| memory.is_valid()),
        "an impossible memory",
    )?;
    for global in &module.globals {
        check_expr(module, spaces, global.init, global.ty.value)?;
    }
    Ok(())
}

fn check_segments(module: &CompiledModule, spaces: &Spaces<'_>) -> Checked {
    for segment in &module.elements {
        require(segment.ty.is_ref(), "an element segment without references")?;
        require(
            u32::try_from(segment.items.len()).is_ok(),
            "an element segment is too long",
        )?;
        for &item in &segment.items {
            check_expr(module, spaces, item, segment.ty)?;
        }
        if let SegmentMode::Active { index, offset } = segment.mode {
            require(
                spaces
                    .tables
                    .get(index as usize)
                    .is_some_and(|table| table.element == segment.ty),
                "an element segment without its table",
            )?;
            check_expr(module, spaces, offset, ValType::I32)?;
        }
    }
    for segment in &module.data {
        require(
            u32::try_from(segment.bytes.len()).is_ok(),
            "a data segment is too long",
        )?;
        if let SegmentMode::Active { index, offset } = segment.mode {
            require(
                (index as usize) < spaces.memories.len(),
                "a data segment without its memory",
            )?;
            check_expr(module, spaces, offset, ValType::I32)?;
        }
    }
    Ok(())
}

fn check_uses(module: &CompiledModule, spaces: &Spaces<'_>) -> Checked {
    let exists = |item| {
        let (index, count) = match item {
            ExportItem::Func(index) => (index, module.function_types.len()),
            ExportItem::Table(index) => (index, spaces.tables.len()),
            ExportItem::Memory(index) => (index, spaces.memories.len()),
            ExportItem::Global(index) => {
                let imported = spaces.imported_globals.len();
                (index, imported + module.globals.len())
            }
        };
        (index as usize) < count
    };
    require(
        module.exports.iter().all(|export| exists(export.item)),
        "an export of nothing",
    )?;
    let Some(start) = module.start else {
        return Ok(());
    };
    let ty = module.function_types.get(start as usize);
    let ty = ty.map(|&ty| &module.types[ty as usize]);
    require(
        ty.is_some_and(|ty| ty.slots() == 0),
        "no start function of type [] -> []",
    )
}

fn check_expr(
    module: &CompiledModule,
    spaces: &Spaces<'_>,
    expr: ConstExpr,
    expected: ValType,
) -> Checked {
    let ty = match expr {
        ConstExpr::I32Const(_) => ValType::I32,
        ConstExpr::I64Const(_) => ValType::I64,
        ConstExpr::F32Const(_) => ValType::F32,
        ConstExpr::F64Const(_) => ValType::F64,
        ConstExpr::RefNull(ty) => ty,
        ConstExpr::RefFunc(index) => {
            require(
                (index as usize) < module.function_types.len(),
                "a reference to no function",
            )?;
            ValType::FuncRef
        }
        ConstExpr::GlobalGet(index) => {
            let ty = spaces.imported_globals.get(index as usize);
            let ty = ty.filter(|ty| !ty.mutable);
            ty.ok_or("a constant of no immutable import")?.value
        }
    };
    require(ty == expected, "a constant of the wrong type")
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::error::LoadError;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;
    use vmexternref_engine_abi::{
        CompiledModule, ConstExpr, DataSegment, ElementSegment, Export, ExportItem, ExternType,
        FuncType, GlobalDefinition, GlobalType, Import, MemoryType, SegmentMode, TEXT_ALIGN,
        TableType, Target, ValType,
    };

    const OBJECT: GlobalType = GlobalType {
        value: ValType::ExternRef,
        mutable: false,
    };
    const ACTIVE: SegmentMode = SegmentMode::Active {
        index: 0,
        offset: ConstExpr::I32Const(0),
    };

    /// Damages an empty module, and expects that reason for its refusal.
    fn refused(reason: &'static str, damage: impl FnOnce(&mut CompiledModule)) {
        let mut module = CompiledModule::new(Target::HOST, false);
        assert_eq!(check(&module, Target::HOST), Ok(()));
        damage(&mut module);
        assert_eq!(
            check(&module, Target::HOST),
            Err(LoadError::Malformed(reason))
        );
    }

    fn import(ty: ExternType) -> Import {
        Import {
            module: String::new(),
            name: String::new(),
            ty,
        }
    }

    #[test]
    fn code_that_is_not_there_is_refused() {
        refused("the text's length is not aligned", |module| {
            module.text = vec![0; 3];
        });
        refused("a function outside the text", |module| {
            module.functions.push(0..1);
        });
        refused("not one trampoline per type", |module| {
            module.types = vec![FuncType::new([], [])];
        });
        refused("a trampoline outside the text", |module| {
            module.types = vec![FuncType::new([], [])];
            module.entry_trampolines = vec![Some(0)];
            module.exit_trampolines = vec![Some(0)];
        });
    }

    #[test]
    fn definitions_that_contradict_each_other_are_refused() {
        let object = |init| GlobalDefinition { ty: OBJECT, init };
        refused("not one type per function", |module| {
            module.function_types = vec![0];
        });
        let takes_i32 = || ExternType::Func(FuncType::new([ValType::I32], []));
        refused("a function of unknown type", |module| {
            module.imports = vec![import(takes_i32())];
            module.function_types = vec![0];
        });
        refused("an imported function of two types", |module| {
            module.text = vec![0; TEXT_ALIGN];
            module.types = vec![FuncType::new([], [])];
            module.entry_trampolines = vec![Some(0)];
            module.exit_trampolines = vec![Some(0)];
            module.imports = vec![import(takes_i32())];
            module.function_types = vec![0];
        });
        refused("an impossible table", |module| {
            module.tables = vec![TableType {
                element: ValType::ExternRef,
                minimum: 2,
                maximum: Some(1),
            }];
        });
        refused("an impossible table", |module| {
            module.imports = vec![import(ExternType::Table(TableType {
                element: ValType::I32,
                minimum: 0,
                maximum: None,
            }))];
        });
        refused("an impossible memory", |module| {
            module.memories = vec![MemoryType {
                minimum: MemoryType::MAX_PAGES + 1,
                maximum: None,
            }];
        });
        refused("a reference to no function", |module| {
            module.globals = vec![object(ConstExpr::RefFunc(0))];
        });
        refused("a constant of no immutable import", |module| {
            module.globals = vec![object(ConstExpr::GlobalGet(0))];
        });
        refused("a constant of the wrong type", |module| {
            module.globals = vec![object(ConstExpr::I64Const(0))];
        });
    }

    #[test]
    fn uses_of_nothing_are_refused() {
        refused("an element segment without its table", |module| {
            module.elements = vec![ElementSegment {
                mode: ACTIVE,
                ty: ValType::FuncRef,
                items: Vec::new(),
            }];
        });
        refused("an element segment without references", |module| {
            module.elements = vec![ElementSegment {
                mode: SegmentMode::Passive,
                ty: ValType::I32,
                items: Vec::new(),
            }];
        });
        refused("a data segment without its memory", |module| {
            module.data = vec![DataSegment {
                mode: ACTIVE,
                bytes: Vec::new(),
            }];
        });
        refused("an export of nothing", |module| {
            module.exports = vec![Export {
                name: String::new(),
                item: ExportItem::Func(0),
            }];
        });
        refused("no start function of type [] -> []", |module| {
            module.start = Some(0);
        });
    }

    #[test]
    fn code_for_another_machine_is_refused() {
        let found = Target {
            pointer_bytes: Target::HOST.pointer_bytes + 1,
            ..Target::HOST
        };
        let module = CompiledModule::new(found, false);
        assert_eq!(
            check(&module, Target::HOST),
            Err(LoadError::WrongTarget {
                found,
                expected: Target::HOST
            })
        );
    }
}
