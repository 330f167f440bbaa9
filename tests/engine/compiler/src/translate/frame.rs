//! Blocks of Wasm.

use cranelift_codegen::ir::{Block, Value};

/// A block, loop, `if` or function body around the current instruction.
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    /// The code after its `end`.
    pub(crate) next: Block,
    /// Whether a branch or the end of the body leads to `next`.
    pub(crate) next_reached: bool,
    /// The number of operands that a branch to this frame takes along.
    pub(crate) branch_arity: usize,
    /// The number of operands that it leaves.
    pub(crate) result_arity: usize,
    /// The number of operands below its own.
    pub(crate) height: usize,
}

/// The kind of a frame, with the data of that kind.
pub(crate) enum FrameKind {
    /// A block, or an `if` after its `else`.
    Block,
    /// A loop and its header.
    Loop(Block),
    /// An `if` before its `else`: the code for a false condition, and its operands.
    If(Block, Vec<Value>),
    /// The body of the function.
    Function,
}
