//! Programs: functions of a stack machine, in several modules that share tables and globals.

/// Reference globals of a program; the first module defines them.
pub(crate) const GLOBALS: u32 = 3;

/// Tables of references; the first module defines them, too.
pub(crate) const TABLES: u32 = 2;

/// Elements that each of them starts with.
pub(crate) const ELEMENTS: u32 = 4;

/// Elements that each of them has at most.
pub(crate) const MOST_ELEMENTS: u32 = 12;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// `i32`
    Num,
    /// `externref`
    Ref,
}

/// The type of a function or block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) params: Vec<Type>,
    pub(crate) results: Vec<Type>,
}

/// An instruction, with the blocks that it opens. Functions have one index in all modules.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Null,
    Num(i32),
    /// A new object.
    New,
    /// Tells the host which object it is.
    See,
    /// Tells the host the number.
    SeeNum,
    /// Collects, and tells the host how many objects are left.
    Collect,
    Get(u32),
    Set(u32),
    Tee(u32),
    GlobalGet(u32),
    GlobalSet(u32),
    TableGet(u32),
    TableSet(u32),
    TableGrow(u32),
    TableFill(u32),
    TableCopy(u32, u32),
    Drop,
    IsNull,
    Same,
    Select(Type),
    Call(usize),
    ReturnCall(usize),
    /// A call of the function at the index on the stack, which has to have this one's type.
    CallIndirect(usize),
    ReturnCallIndirect(usize),
    /// A call through the host, with two references that it holds meanwhile.
    CallWith(usize),
    /// A call through the host, which returns the trap.
    Try(usize),
    Block(Signature, Vec<Op>),
    If(Signature, Vec<Op>, Vec<Op>),
    /// Runs its body so often. Parameters and results have the same types.
    Loop(Repeat, Signature, Vec<Op>),
    Br(u32),
    BrIf(u32),
    BrTable(Vec<u32>, u32),
    Return,
    Unreachable,
}

/// How often a loop runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat {
    pub(crate) times: i32,
    /// The local that counts.
    pub(crate) counter: u32,
}

/// A function.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// The index of its module. Later functions are never in earlier modules.
    pub(crate) module: usize,
    pub(crate) signature: Signature,
    /// The types of all locals, the parameters among them.
    pub(crate) locals: Vec<Type>,
    pub(crate) body: Vec<Op>,
}

/// A program; its last function runs.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) functions: Vec<Function>,
}

impl Program {
    /// The number of modules.
    pub(crate) fn modules(&self) -> usize {
        self.functions.last().map_or(0, |last| last.module + 1)
    }
}
