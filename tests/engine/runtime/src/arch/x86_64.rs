//! Resuming a trap on AMD64.

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
            "mov rsp, rsi",
            "mov rbp, rdx",
            "jmp rdi",
            in("rdi") pc,
            in("rsi") sp,
            in("rdx") fp,
            options(noreturn),
        )
    }
}
