//! Resuming at a trap's handler on 64-bit ARM.

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
            "mov sp, x1",
            "mov x29, x2",
            "br x0",
            in("x0") pc,
            in("x1") sp,
            in("x2") fp,
            options(noreturn),
        )
    }
}
