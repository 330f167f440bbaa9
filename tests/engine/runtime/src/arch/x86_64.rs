//! Resuming at a trap's handler on AMD64.

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
