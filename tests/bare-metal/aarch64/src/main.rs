//! A kernel that boots on the `aarch64` machine `virt` of QEMU, and runs the tests.
//!
//! Interrupts stay masked. An exception is a failure, and its cause is printed.

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
        const PL011: usize = 0x0900_0000;
        let data = core::ptr::with_exposed_provenance_mut::<u32>(PL011);
        for byte in text.bytes() {
            // SAFETY: the machine `virt` has its serial port's data register there, and only this
            // function uses it.
            unsafe { data.write_volatile(byte.into()) };
        }
        Ok(())
    }
}

/// Ends QEMU, by semihosting, with exit code 33 if all tests passed, and 35 if not.
fn exit(passed: bool) -> ! {
    const SYS_EXIT: u64 = 0x18;
    const APPLICATION_EXIT: u64 = 0x20026;
    let block = [APPLICATION_EXIT, if passed { 33 } else { 35 }];
    loop {
        // SAFETY: QEMU reads the two words of the block, and ends.
        unsafe { asm!("hlt #0xf000", in("x0") SYS_EXIT, in("x1") &raw const block) };
    }
}

/// Makes writes to memory visible to instruction fetches.
fn synchronize(code: *const u8, bytes: usize) {
    /// The shortest cache line that the architecture allows, in bytes.
    const LINE: usize = 16;
    for offset in (0..bytes).step_by(LINE) {
        let line = code.wrapping_add(offset);
        // SAFETY: cache maintenance does not change the contents of memory.
        unsafe { asm!("dc cvau, {0}", "dsb ish", "ic ivau, {0}", in(reg) line) };
    }
    // SAFETY: barriers change neither registers nor memory.
    unsafe { asm!("dsb ish", "isb") };
}

/// Whether this processor signs return addresses. Older processors ignore the instruction.
fn signs_return_addresses() -> bool {
    let address = synchronize as fn(*const u8, usize) as usize;
    let mut signed = address;
    // SAFETY: hint 24 is `paciaz`: it signs x30, or does nothing.
    unsafe { asm!("hint #24", inout("x30") signed, options(nomem, nostack)) };
    signed != address
}

/// The start-up code calls this, on a stack of two mebibytes.
#[unsafe(no_mangle)]
extern "C" fn kernel_main() -> ! {
    let signs = u8::from(signs_return_addresses());
    // The console cannot fail.
    let _ = writeln!(
        Console,
        "measured authentication: {signs} is 1 where return addresses are signed"
    );
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
