//! One activation: where compiled code was entered and left.

/// What trampolines recorded for one activation; zeros if it has no Wasm frames.
///
/// An interpreter's host records the same words itself, with
/// [`ActivationRecord::write`](crate::ActivationRecord::write).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activation {
    /// The return address of the exit trampoline.
    pub exit_pc: usize,
    /// The frame pointer of the exit trampoline.
    pub exit_fp: usize,
    /// The frame pointer of the entry trampoline.
    pub entry_fp: usize,
}

/// An outer activation, kept on the stack while an inner one runs.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) activation: Activation,
    pub(crate) older: *const Self,
}
