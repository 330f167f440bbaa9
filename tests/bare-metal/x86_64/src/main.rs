//! A kernel that boots on `x86_64` machines through PVH, and runs the tests.
//!
//! Interrupts stay off and there is no interrupt table: a fault resets the machine. QEMU then ends
//! with an exit code that [`exit`] does not use.

#![no_std]
#![no_main]

use bare_metal_body::{Engine, FixedMemory, Machine, MeasuredHeap, RamPlacer};
use core::arch::{asm, global_asm};
use core::fmt::{self, Write};
use core::panic::PanicInfo;

global_asm!(include_str!("start.s"));

#[global_allocator]
static HEAP: MeasuredHeap<FixedMemory> = MeasuredHeap::new(FixedMemory::new());

/// The first serial port.
struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const COM1: u16 = 0x3f8;
        for byte in text.bytes() {
            // SAFETY: QEMU's machine has a serial port there, and only this function uses it.
            unsafe { asm!("out dx, al", in("dx") COM1, in("al") byte, options(nomem, nostack)) };
        }
        Ok(())
    }
}

/// Ends QEMU with exit code 33 if all tests passed, and 35 if not.
fn exit(passed: bool) -> ! {
    const DEBUG_EXIT: u16 = 0xf4;
    let code: u32 = if passed { 16 } else { 17 };
    loop {
        // SAFETY: `run.sh` gives QEMU's machine an exit device at this port.
        unsafe {
            asm!("out dx, eax", in("dx") DEBUG_EXIT, in("eax") code, options(nomem, nostack))
        };
    }
}

/// The start-up code calls this, on a stack of two mebibytes.
#[unsafe(no_mangle)]
extern "C" fn kernel_main() -> ! {
    // x86 keeps its instruction cache coherent by itself.
    let placer = RamPlacer::new(|_, _| {});
    exit(bare_metal_body::run(Machine {
        console: &mut Console,
        heap: &HEAP,
        engine: Engine::native(placer),
    }))
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    // The console cannot fail.
    let _ = writeln!(Console, "{info}");
    exit(false)
}
