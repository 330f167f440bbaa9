//! What differs between architectures in the host's code: four facts, one file each.
//!
//! - `frame_pointer()`: the frame pointer of the function it is inlined into;
//! - `strip(pc)`: a return address from memory as a plain address;
//! - `HOST_RECORD_BELOW_FP`: how many bytes below the frame pointer code of the host's compiler
//!   keeps its frame record. Cranelift keeps it at the frame pointer;
//! - `HOST_RECORD_ON_TOP`: whether that compiler keeps the record at the top of the frame, so that
//!   the caller's stack pointer is the address after it. Cranelift does.

core::cfg_select! {
    // Miri interprets no machine code.
    miri => {
        mod other;
        pub(crate) use other::{HOST_RECORD_BELOW_FP, frame_pointer, strip};
    }
    all(target_arch = "x86_64", target_pointer_width = "64") => {
        mod x86_64;
        pub(crate) use x86_64::{HOST_RECORD_BELOW_FP, HOST_RECORD_ON_TOP, frame_pointer, strip};
    }
    all(target_arch = "aarch64", target_pointer_width = "64") => {
        mod aarch64;
        pub(crate) use aarch64::{HOST_RECORD_BELOW_FP, HOST_RECORD_ON_TOP, frame_pointer, strip};
    }
    target_arch = "riscv64" => {
        mod riscv64;
        pub(crate) use riscv64::{HOST_RECORD_BELOW_FP, HOST_RECORD_ON_TOP, frame_pointer, strip};
    }
    _ => {
        mod other;
        pub(crate) use other::{HOST_RECORD_BELOW_FP, frame_pointer, strip};
    }
}
