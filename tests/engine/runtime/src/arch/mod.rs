//! The step that Rust cannot express: leaving frames behind.
//!
//! Each architecture has a file with one function, [`resume`]. It moves its arguments into program
//! counter, stack pointer and frame pointer. The arguments are in registers that the moves do not
//! write.

cfg_select! {
    target_arch = "x86_64" => {
        mod x86_64;
        use x86_64 as machine;
    }
    target_arch = "aarch64" => {
        mod aarch64;
        use aarch64 as machine;
    }
    target_arch = "riscv64" => {
        mod riscv64;
        use riscv64 as machine;
    }
    target_arch = "s390x" => {
        mod s390x;
        use s390x as machine;
    }
    _ => {
        mod unsupported;
        use unsupported as machine;
    }
}

/// Abandons every frame younger than `fp` and continues at `pc`.
///
/// # Safety
///
/// The arguments describe the exception handler of a `try_call` in progress on this stack, and no
/// abandoned frame has anything left to do.
pub(crate) unsafe fn resume(pc: usize, sp: usize, fp: usize) -> ! {
    // SAFETY: the caller keeps the contract.
    unsafe { machine::resume(pc, sp, fp) }
}
