//! What a compiler hands to the runtime: machine code and its description.
//!
//! Plain data, made by a compiler in the same process or read from a file. [`Module::load`](crate::Module::load)
//! checks it before anything is placed or run.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use crate::types::{ExternType, FuncType, GlobalType, MemoryType, TableType, ValType};

/// Bytes to which functions and trampolines are aligned in the text.
pub const TEXT_ALIGN: usize = 16;

/// Machine code for one Wasm module, with all that instantiation needs.
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
    /// Their addresses are relative, and right when the tables stand directly behind the text.
    #[serde(skip)]
    pub eh_frame: Vec<u8>,
    /// The part of the text that each defined function occupies.
    pub functions: Vec<Range<u32>>,
    /// Where the entry trampoline of each type starts in the text.
    pub entry_trampolines: Vec<u32>,
    /// Where the exit trampoline of each type starts in the text.
    pub exit_trampolines: Vec<u32>,
    /// The calls at which references are live.
    #[serde(skip)]
    pub safepoints: Vec<Safepoint>,
    /// The module's function types.
    pub types: Vec<FuncType>,
    /// What the module needs, in order.
    pub imports: Vec<Import>,
    /// The type index of each function, the imported ones first.
    pub function_types: Vec<u32>,
    /// The tables it defines, without the imported ones.
    pub tables: Vec<TableType>,
    /// The memories it defines, without the imported ones.
    pub memories: Vec<MemoryType>,
    /// The globals it defines, without the imported ones.
    pub globals: Vec<GlobalDefinition>,
    /// What the module offers, in order.
    pub exports: Vec<Export>,
    /// The function to call once the module is instantiated.
    pub start: Option<u32>,
    /// Element segments.
    pub elements: Vec<ElementSegment>,
    /// Data segments.
    pub data: Vec<DataSegment>,
}

impl CompiledModule {
    /// A module with nothing in it yet.
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
            safepoints: Vec::new(),
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
        }
    }
}

/// The kind of machine that code was compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The instruction set.
    pub architecture: Architecture,
    /// Bytes in a pointer.
    pub pointer_bytes: u8,
}

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Architecture {
    /// AMD64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
    /// An instruction set that this runtime cannot enter.
    Other,
}

impl Target {
    /// The machine that this runtime runs on.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a pointer has at most eight bytes"
    )]
    pub const HOST: Self = Self {
        architecture: if cfg!(target_arch = "x86_64") {
            Architecture::X86_64
        } else if cfg!(target_arch = "aarch64") {
            Architecture::Aarch64
        } else if cfg!(target_arch = "riscv64") {
            Architecture::Riscv64
        } else {
            Architecture::Other
        },
        pointer_bytes: size_of::<usize>() as u8,
    };
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.architecture {
            Architecture::X86_64 => "x86_64",
            Architecture::Aarch64 => "aarch64",
            Architecture::Riscv64 => "riscv64",
            Architecture::Other => "another machine",
        };
        write!(f, "{name} ({}-bit)", u32::from(self.pointer_bytes) * 8)
    }
}

/// One call in the text, and where its frame holds live references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safepoint {
    /// The return address of the call, from the start of the text.
    pub return_offset: u32,
    /// Bytes between the stack pointer at the call and the frame pointer.
    pub frame_bytes: u32,
    /// Where the references are: bytes from the stack pointer at the call.
    pub references: Vec<u32>,
}

/// Something that a module needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Import {
    /// The first name.
    pub module: String,
    /// The second name.
    pub name: String,
    /// What it has to be.
    pub ty: ExternType,
}

/// Something that a module offers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it is.
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

/// A global and its initial value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GlobalDefinition {
    /// Its type.
    pub ty: GlobalType,
    /// Its value at the start.
    pub init: ConstExpr,
}

/// A constant expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConstExpr {
    /// A 32-bit integer.
    I32Const(i32),
    /// A 64-bit integer.
    I64Const(i64),
    /// The bits of a 32-bit float.
    F32Const(u32),
    /// The bits of a 64-bit float.
    F64Const(u64),
    /// A null reference of that type.
    RefNull(ValType),
    /// A reference to the function of that index.
    RefFunc(u32),
    /// The value of the imported, immutable global of that index.
    GlobalGet(u32),
}

/// What happens to a segment at instantiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SegmentMode {
    /// Nothing.
    Passive,
    /// It is copied into the table or memory of that index, and dropped.
    Active {
        /// The index of the table or memory.
        index: u32,
        /// Where the copy starts.
        offset: ConstExpr,
    },
    /// It is dropped; only element segments.
    Declared,
}

/// References to put into tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ElementSegment {
    /// What happens at instantiation.
    pub mode: SegmentMode,
    /// The type of its elements.
    pub ty: ValType,
    /// Its elements.
    pub items: Vec<ConstExpr>,
}

/// Bytes to put into memories.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataSegment {
    /// What happens at instantiation.
    pub mode: SegmentMode,
    /// Its contents.
    pub bytes: Vec<u8>,
}

impl CompiledModule {
    /// How many functions are imported.
    #[must_use]
    pub fn imported_functions(&self) -> usize {
        self.count_imports(|ty| matches!(ty, ExternType::Func(_)))
    }

    /// How many tables are imported.
    #[must_use]
    pub fn imported_tables(&self) -> usize {
        self.count_imports(|ty| matches!(ty, ExternType::Table(_)))
    }

    /// How many memories are imported.
    #[must_use]
    pub fn imported_memories(&self) -> usize {
        self.count_imports(|ty| matches!(ty, ExternType::Memory(_)))
    }

    /// How many globals are imported.
    #[must_use]
    pub fn imported_globals(&self) -> usize {
        self.count_imports(|ty| matches!(ty, ExternType::Global(_)))
    }

    fn count_imports(&self, is_kind: impl Fn(&ExternType) -> bool) -> usize {
        self.imports
            .iter()
            .filter(|import| is_kind(&import.ty))
            .count()
    }
}
