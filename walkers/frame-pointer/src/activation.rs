//! One activation: where compiled code was entered and left.

/// What trampolines recorded for one activation; zeros if it has no Wasm frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Activation {
    pub(crate) exit_pc: usize,
    pub(crate) exit_fp: usize,
    pub(crate) entry_fp: usize,
}

/// An outer activation, kept on the stack while an inner one runs.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) activation: Activation,
    pub(crate) older: *const Self,
}
