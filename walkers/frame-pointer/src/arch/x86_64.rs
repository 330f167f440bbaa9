//! x86-64: `[rbp]` is the older frame pointer, `[rbp + 8]` the return address.

use core::arch::asm;

pub(crate) const HOST_RECORD_BELOW_FP: usize = 0;
pub(crate) const HOST_RECORD_ON_TOP: bool = true;

#[inline(always)]
pub(crate) fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: the instruction copies a register and touches nothing else, as the options say.
    unsafe { asm!("mov {}, rbp", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}

#[inline(always)]
pub(crate) fn strip(pc: usize) -> usize {
    pc
}
