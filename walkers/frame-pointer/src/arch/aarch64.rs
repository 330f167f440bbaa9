//! `AArch64`: `[x29]` is the older frame pointer, `[x29 + 8]` the return address.
//!
//! LLVM may save other registers above the record, so that it does not end the frame. A return
//! address in memory may carry an authentication code in its upper bits.

use core::arch::asm;

pub(crate) const HOST_RECORD_BELOW_FP: usize = 0;
pub(crate) const HOST_RECORD_ON_TOP: bool = false;

#[inline(always)]
pub(crate) fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: the instruction copies a register and touches nothing else, as the options say.
    unsafe { asm!("mov {}, x29", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}

#[inline(always)]
pub(crate) fn strip(pc: usize) -> usize {
    let mut stripped = pc;
    // SAFETY: hint 7 is `xpaclri`: it clears the code in x30, and does nothing on cores without
    // pointer authentication.
    unsafe {
        asm!("hint #7", inout("x30") stripped, options(pure, nomem, nostack, preserves_flags));
    }
    stripped
}
