//! Passes the linker script of a microcontroller to the linker; build scripts have it as a module.

use std::env;

/// For the machine that is compiled for, with a stack of `stack_bytes`.
pub(crate) fn pass(stack_bytes: usize) {
    let machine = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("arm") => "thumbv7em",
        Ok("riscv32") => "riscv32",
        _ => return,
    };
    println!("cargo:rerun-if-changed=../{machine}/link.ld");
    let here = env!("CARGO_MANIFEST_DIR");
    println!("cargo:rustc-link-arg-bins=-T{here}/../{machine}/link.ld");
    println!("cargo:rustc-link-arg-bins=--defsym=stack_bytes={stack_bytes}");
}
