//! Whether the indices in a compiled module can be trusted.
//!
//! A compiler in the same process always passes. A file may be damaged, and no index in it may make the runtime
//! panic or read where it should not. What the machine code does cannot be checked.

use core::ops::Range;

use vmexternref_engine_abi::{
    Architecture, CompiledModule, ConstExpr, ExportItem, ExternType, GlobalType, SegmentMode,
    TEXT_ALIGN, Target, ValType,
};

use crate::error::LoadError;

/// Checks everything that instantiation relies on.
pub(crate) fn check(module: &CompiledModule) -> Result<(), LoadError> {
    if module.target != Target::HOST || module.target.architecture == Architecture::Other {
        return Err(LoadError::WrongTarget {
            found: module.target,
        });
    }
    check_code(module)
        .and_then(|()| check_definitions(module))
        .and_then(|()| check_segments(module))
        .and_then(|()| check_uses(module))
        .map_err(LoadError::Malformed)
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
        "a function outside of the text",
    )?;
    let trampolines = [&module.entry_trampolines, &module.exit_trampolines];
    require(
        trampolines
            .iter()
            .all(|all| all.len() == module.types.len()),
        "not one trampoline per type",
    )?;
    require(
        trampolines.into_iter().flatten().all(|&start| start < len),
        "a trampoline outside of the text",
    )
}

fn check_definitions(module: &CompiledModule) -> Checked {
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
        tables(module).all(ValType::is_ref),
        "a table of other things than references",
    )?;
    for global in &module.globals {
        check_expr(module, global.init, global.ty.value)?;
    }
    Ok(())
}

fn check_segments(module: &CompiledModule) -> Checked {
    for segment in &module.elements {
        require(segment.ty.is_ref(), "an element segment without references")?;
        require(
            u32::try_from(segment.items.len()).is_ok(),
            "an element segment is too long",
        )?;
        for &item in &segment.items {
            check_expr(module, item, segment.ty)?;
        }
        if let SegmentMode::Active { index, offset } = segment.mode {
            require(
                tables(module).nth(index as usize) == Some(segment.ty),
                "an element segment without its table",
            )?;
            check_expr(module, offset, ValType::I32)?;
        }
    }
    for segment in &module.data {
        require(
            u32::try_from(segment.bytes.len()).is_ok(),
            "a data segment is too long",
        )?;
        if let SegmentMode::Active { index, offset } = segment.mode {
            let memories = module.imported_memories() + module.memories.len();
            require(
                (index as usize) < memories,
                "a data segment without its memory",
            )?;
            check_expr(module, offset, ValType::I32)?;
        }
    }
    Ok(())
}

fn check_uses(module: &CompiledModule) -> Checked {
    let exists = |item| {
        let (index, count) = match item {
            ExportItem::Func(index) => (index, module.function_types.len()),
            ExportItem::Table(index) => (index, tables(module).count()),
            ExportItem::Memory(index) => {
                (index, module.imported_memories() + module.memories.len())
            }
            ExportItem::Global(index) => (index, module.imported_globals() + module.globals.len()),
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

/// The element type of each table, the imported ones first.
fn tables(module: &CompiledModule) -> impl Iterator<Item = ValType> {
    let imported = module.imports.iter().filter_map(|import| match &import.ty {
        ExternType::Table(ty) => Some(ty.element),
        _ => None,
    });
    imported.chain(module.tables.iter().map(|ty| ty.element))
}

fn imported_global(module: &CompiledModule, index: u32) -> Option<GlobalType> {
    let globals = module.imports.iter().filter_map(|import| match &import.ty {
        ExternType::Global(ty) => Some(*ty),
        _ => None,
    });
    globals.into_iter().nth(index as usize)
}

fn check_expr(module: &CompiledModule, expr: ConstExpr, expected: ValType) -> Checked {
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
            let ty = imported_global(module, index).filter(|ty| !ty.mutable);
            ty.ok_or("a constant of no immutable import")?.value
        }
    };
    require(ty == expected, "a constant of the wrong type")
}
