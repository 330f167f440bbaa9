//! A microcontroller that interprets the guests, and runs the tests.
//!
//! Its code and the guests are in 256 KiB of flash. Stack, statics and heap are in 128 KiB of RAM.
//! The memories of guests are in a second region.

#![no_std]
#![no_main]

core::cfg_select! {
    target_arch = "arm" => {
        use bare_metal_thumbv7em::{Console, exit};
    }
    target_arch = "riscv32" => {
        use bare_metal_riscv32::{Console, exit};
    }
}

use bare_metal_body::{Engine, Machine, MeasuredHeap, TwoHeaps};
use core::fmt::Write;
use core::panic::PanicInfo;

/// Bytes of the stack that calls may use that nest. The host has the rest.
const STACK_BYTES: usize = 33 << 10;

/// Bytes of the interpreter's stack.
const INTERPRETER_STACK_BYTES: usize = 18 << 10;

#[global_allocator]
static HEAP: MeasuredHeap<TwoHeaps> = MeasuredHeap::new(TwoHeaps::new());

unsafe extern "C" {
    static mut heap_start: u8;
    static mut heap_end: u8;
    static mut guests_start: u8;
    static mut guests_end: u8;
    static guard_bottom: u8;
    static stack_bottom: u8;
}

/// The start-up code calls this.
#[unsafe(no_mangle)]
extern "C" fn kernel_main() -> ! {
    let ram = (&raw mut heap_start)..(&raw mut heap_end);
    let guests = (&raw mut guests_start)..(&raw mut guests_end);
    // SAFETY: nothing was allocated yet, and the linker script gives these regions to the heaps.
    unsafe { HEAP.memory().init(ram, guests) };
    let mut console = Console::new();
    let passed = bare_metal_body::run(Machine {
        console: &mut console,
        heap: &HEAP,
        engine: Engine::interpreter(STACK_BYTES, INTERPRETER_STACK_BYTES),
    });
    let bytes = HEAP.memory().ram_high_water();
    // The console cannot fail.
    let _ = writeln!(console, "measured ram: {bytes} bytes of heap at most");
    exit(passed)
}

/// The exception vectors lead here.
#[unsafe(no_mangle)]
extern "C" fn kernel_fault(cause: usize, pc: usize, address: usize, sp: usize) -> ! {
    let guard = (&raw const guard_bottom).addr()..(&raw const stack_bottom).addr();
    let overflowed = guard.contains(&sp);
    let what = if overflowed {
        "stack overflow"
    } else {
        "exception"
    };
    // The console cannot fail.
    let _ = writeln!(
        Console::new(),
        "{what} {cause:#x} at {pc:#x}, address {address:#x}"
    );
    exit(false)
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    // The console cannot fail.
    let _ = writeln!(Console::new(), "{info}");
    exit(false)
}
