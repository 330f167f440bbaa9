//! Passes the linker script of the machine to the linker.

#[path = "../linker_script.rs"]
mod linker_script;

/// Bytes of the stack.
const STACK: usize = 8 << 10;

fn main() {
    linker_script::pass(STACK);
}
