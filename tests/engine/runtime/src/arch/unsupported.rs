//! Resuming at a trap's handler on a machine that no module is compiled for.

/// See [`resume`](super::resume).
///
/// # Safety
///
/// As for [`resume`](super::resume).
pub(super) unsafe fn resume(_pc: usize, _sp: usize, _fp: usize) -> ! {
    unreachable!("`Module::load` refuses code on this machine")
}
