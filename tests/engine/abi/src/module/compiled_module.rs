//! Machine code and its description: the compiler's result.
//!
//! It is plain data, made by a compiler in the same process or read from a file. The runtime checks
//! it before it places or runs any code.

use crate::module::const_expr::ConstExpr;
use crate::module::segment::{DataSegment, ElementSegment};
use crate::module::target::Target;
use crate::types::{ExternType, FuncType, GlobalType, MemoryType, TableType};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// Bytes to which functions and trampolines are aligned in the text.
pub const TEXT_ALIGN: usize = 16;

/// Machine code for one Wasm module, and all that instantiation needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompiledModule {
    /// The machine the code is for.
    pub target: Target,
    /// Whether the code collects at every safepoint.
    pub zeal: bool,
    /// Position-independent code, trampolines included; its length is a multiple of [`TEXT_ALIGN`].
    #[serde(skip)]
    pub text: Vec<u8>,
    /// Unwind tables for the whole text, null-terminated.
    ///
    /// The addresses in them are relative. They are right if the tables follow the text directly.
    #[serde(skip)]
    pub eh_frame: Vec<u8>,
    /// The part of the text that each defined function occupies.
    pub functions: Vec<Range<u32>>,
    /// Where the entry trampoline of each type starts in the text, if the host may call functions
    /// of that type.
    pub entry_trampolines: Vec<Option<u32>>,
    /// Where the exit trampoline of each type starts in the text, if the code may call functions of
    /// the host with that type.
    pub exit_trampolines: Vec<Option<u32>>,
    /// The calls at which references are live, as a `.wasmtime.stackmap` section; empty if there is
    /// none.
    #[serde(skip)]
    pub stack_maps: Vec<u8>,
    /// Where each call of a function returns to in the text; empty if that is not known.
    ///
    /// Object files do not have it, so that they stay small.
    #[serde(skip)]
    pub return_addresses: Vec<u32>,
    /// The function types.
    pub types: Vec<FuncType>,
    /// The imports, in order.
    pub imports: Vec<Import>,
    /// The type index of each function, the imported ones first.
    pub function_types: Vec<u32>,
    /// The types of the tables that it defines.
    pub tables: Vec<TableType>,
    /// The types of the memories that it defines.
    pub memories: Vec<MemoryType>,
    /// The globals that it defines.
    pub globals: Vec<GlobalDefinition>,
    /// The exports, in order.
    pub exports: Vec<Export>,
    /// The index of the function that instantiation calls last.
    pub start: Option<u32>,
    /// Element segments.
    pub elements: Vec<ElementSegment>,
    /// Data segments.
    pub data: Vec<DataSegment>,
    /// Where its code comes from; object files do not have it.
    #[serde(skip)]
    pub origin: Origin,
}

/// Where the code of a module comes from, for messages to people.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The functions that the module's name section names: index and name, by index.
    pub names: Vec<(u32, String)>,
    /// The calls: where each returns to in the text, and its offset in the Wasm binary; by the
    /// former.
    pub calls: Vec<(u32, u32)>,
}

impl CompiledModule {
    /// A module with nothing in it.
    #[must_use]
    pub const fn new(target: Target, zeal: bool) -> Self {
        Self {
            target,
            zeal,
            text: Vec::new(),
            eh_frame: Vec::new(),
            functions: Vec::new(),
            entry_trampolines: Vec::new(),
            exit_trampolines: Vec::new(),
            stack_maps: Vec::new(),
            return_addresses: Vec::new(),
            types: Vec::new(),
            imports: Vec::new(),
            function_types: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
            globals: Vec::new(),
            exports: Vec::new(),
            start: None,
            elements: Vec::new(),
            data: Vec::new(),
            origin: Origin {
                names: Vec::new(),
                calls: Vec::new(),
            },
        }
    }

    /// The number of imported functions.
    #[must_use]
    pub fn imported_functions(&self) -> usize {
        self.imports
            .iter()
            .filter(|import| matches!(import.ty, ExternType::Func(_)))
            .count()
    }

    /// The functions that the module gives away: exports, its start function, and references.
    ///
    /// A valid module makes references only to functions that it exports, or to which an element
    /// segment or a global refers. A function may be among them several times.
    pub fn given_away(&self) -> impl Iterator<Item = u32> {
        let exported = self.exports.iter().filter_map(|export| match export.item {
            ExportItem::Func(index) => Some(index),
            _ => None,
        });
        let items = self.elements.iter().flat_map(|segment| &segment.items);
        let constants = items.chain(self.globals.iter().map(|global| &global.init));
        let referred = constants.filter_map(|constant| match constant {
            ConstExpr::RefFunc(index) => Some(*index),
            _ => None,
        });
        exported.chain(referred).chain(self.start)
    }
}

/// An import of a module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Import {
    /// The first name.
    pub module: String,
    /// The second name.
    pub name: String,
    /// The type that the item must match.
    pub ty: ExternType,
}

/// An export of a module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// The exported item.
    pub item: ExportItem,
}

/// An index into one of a module's index spaces, the imported items first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportItem {
    /// A function.
    Func(u32),
    /// A table.
    Table(u32),
    /// A linear memory.
    Memory(u32),
    /// A global.
    Global(u32),
}

/// A global that a module defines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GlobalDefinition {
    /// Its type.
    pub ty: GlobalType,
    /// Its initial value.
    pub init: ConstExpr,
}
