//! Resuming a trap on 64-bit ARM.

use core::arch::asm;

/// Abandons every frame younger than `fp` and continues at `pc`.
///
/// # Safety
///
/// The three are an exception handler of a `try_call` in progress on this stack, and no frame that is abandoned
/// has anything left to do.
pub(crate) unsafe fn resume(pc: usize, sp: usize, fp: usize) -> ! {
    // SAFETY: the caller names a handler that expects exactly these registers, and gives up all younger frames.
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
