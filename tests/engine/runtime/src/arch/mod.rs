//! The one step that Rust cannot take: leaving frames behind.

cfg_select! {
    target_arch = "x86_64" => {
        mod x86_64;
        pub(crate) use x86_64::resume;
    }
    target_arch = "aarch64" => {
        mod aarch64;
        pub(crate) use aarch64::resume;
    }
    target_arch = "riscv64" => {
        mod riscv64;
        pub(crate) use riscv64::resume;
    }
    _ => {
        mod unsupported;
        pub(crate) use unsupported::resume;
    }
}
