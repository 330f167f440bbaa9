//! Resuming a trap on 64-bit RISC-V.

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
