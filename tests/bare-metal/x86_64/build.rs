//! Passes the linker script to the linker.

fn main() {
    println!("cargo:rerun-if-changed=link.ld");
    let here = env!("CARGO_MANIFEST_DIR");
    println!("cargo:rustc-link-arg-bins=-T{here}/link.ld");
}
