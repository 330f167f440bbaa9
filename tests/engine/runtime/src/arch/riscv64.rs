//! Resuming at a trap's handler on 64-bit RISC-V.

use core::arch::asm;

/// See [`resume`](super::resume).
///
/// # Safety
///
/// As for [`resume`](super::resume).
pub(super) unsafe fn resume(pc: usize, sp: usize, fp: usize) -> ! {
    // SAFETY: the caller passes the handler's registers, and gives up all younger frames.
    unsafe {
        asm!(
            "mv sp, a1",
            "mv s0, a2",
            "jr a0",
            in("a0") pc,
            in("a1") sp,
            in("a2") fp,
            options(noreturn),
        )
    }
}
