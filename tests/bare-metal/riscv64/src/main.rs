//! A kernel that boots on the `riscv64` machine `virt` of QEMU, and runs the tests.
//!
//! Interrupts stay off. An exception is a failure, and its cause is printed.

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
        const NS16550: usize = 0x1000_0000;
        let data = core::ptr::with_exposed_provenance_mut::<u8>(NS16550);
        for byte in text.bytes() {
            // SAFETY: the machine `virt` has its serial port's data register there, and only this
            // function uses it.
            unsafe { data.write_volatile(byte) };
        }
        Ok(())
    }
}

/// Ends QEMU with exit code 33 if all tests passed, and 35 if not.
fn exit(passed: bool) -> ! {
    const SIFIVE_TEST: usize = 0x10_0000;
    /// Ends QEMU with the exit code in the upper half.
    const END: u32 = 0x3333;
    let code: u32 = if passed { 33 } else { 35 };
    let device = core::ptr::with_exposed_provenance_mut::<u32>(SIFIVE_TEST);
    loop {
        // SAFETY: the machine `virt` has its exit device at this address.
        unsafe { device.write_volatile(code << 16 | END) };
    }
}

/// Makes writes to memory visible to instruction fetches.
fn synchronize(_code: *const u8, _bytes: usize) {
    // SAFETY: a barrier changes neither registers nor memory.
    unsafe { asm!("fence.i") };
}

/// The start-up code calls this, on a stack of two mebibytes.
#[unsafe(no_mangle)]
extern "C" fn kernel_main() -> ! {
    let placer = RamPlacer::new(synchronize);
    exit(bare_metal_body::run(Machine {
        console: &mut Console,
        heap: &HEAP,
        engine: Engine::native(placer),
    }))
}

/// The exception vectors lead here.
#[unsafe(no_mangle)]
extern "C" fn kernel_fault(syndrome: usize, pc: usize, address: usize) -> ! {
    // The console cannot fail.
    let _ = writeln!(
        Console,
        "exception {syndrome:#x} at {pc:#x}, address {address:#x}"
    );
    exit(false)
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    // The console cannot fail.
    let _ = writeln!(Console, "{info}");
    exit(false)
}
