//! One activation: where compiled code was entered and left.

/// What trampolines recorded for one activation; zeros if it has no Wasm frames.
///
/// An interpreter's host records the same words itself, with
/// [`ActivationRecord::write`](crate::ActivationRecord::write).
///
/// ```
/// use vmexternref_frame_pointer::{Activation, ActivationRecord};
///
/// let record = ActivationRecord::new();
/// // An interpreter has called the host from 0x1024.
/// let activation = Activation { exit_pc: 0x1024, exit_fp: 0x8000, entry_fp: 0x8100 };
/// // SAFETY: nothing walks these frames, which are made up.
/// unsafe { record.write(activation) };
/// assert_eq!(record.exit_pc(), 0x1024);
/// ```
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
