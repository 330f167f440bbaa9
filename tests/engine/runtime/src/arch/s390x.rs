//! Resuming at a trap's handler on z/Architecture.

use core::arch::asm;

/// See [`resume`](super::resume).
///
/// The frame pointer has no register: the handler's frame holds the back chain.
///
/// # Safety
///
/// As for [`resume`](super::resume).
pub(super) unsafe fn resume(pc: usize, sp: usize, _fp: usize) -> ! {
    // SAFETY: the caller passes the handler's registers, and gives up all younger frames.
    unsafe {
        asm!(
            "lgr %r15, %r3",
            "br %r2",
            in("r2") pc,
            in("r3") sp,
            options(noreturn),
        )
    }
}
