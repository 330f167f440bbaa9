//! RISC-V: compiled code keeps its record at `s0`, the host's compiler two words below it.
//!
//! LLVM and GCC point `s0` at the caller's stack pointer, with the return address at `[s0 - 8]`
//! and the older frame pointer at `[s0 - 16]`. Cranelift has them at `[s0 + 8]` and `[s0]`.

use core::arch::asm;

pub(crate) const HOST_RECORD_BELOW_FP: usize = 16;
pub(crate) const HOST_RECORD_ON_TOP: bool = true;

#[inline(always)]
pub(crate) fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: the instruction copies a register and touches nothing else, as the options say.
    unsafe { asm!("mv {}, s0", out(reg) fp, options(nomem, nostack, preserves_flags)) };
    fp
}

#[inline(always)]
pub(crate) fn strip(pc: usize) -> usize {
    pc
}
