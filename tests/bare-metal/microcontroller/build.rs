//! Passes the linker script of the machine to the linker.

use std::env;

/// Bytes of the stack.
const STACK: usize = 41 << 10;

fn main() {
    let machine = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("arm") => "thumbv7em",
        Ok("riscv32") => "riscv32",
        _ => return,
    };
    println!("cargo:rerun-if-changed=../{machine}/link.ld");
    let here = env!("CARGO_MANIFEST_DIR");
    println!("cargo:rustc-link-arg-bins=-T{here}/../{machine}/link.ld");
    println!("cargo:rustc-link-arg-bins=--defsym=stack_bytes={STACK}");
}
