//! The machine `virt` of QEMU with 32-bit words: start-up code, its serial port, and its end.
//!
//! A host defines `kernel_main` and `kernel_fault`, and links with `link.ld`.

#![no_std]

use core::arch::global_asm;
use core::fmt;

global_asm!(include_str!("start.s"));

/// The first serial port.
#[derive(Debug, Default)]
pub struct Console(());

impl Console {
    /// The port, which needs no preparation.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl fmt::Write for Console {
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

/// Ends QEMU with exit code 33 if all went well, and 35 if not.
pub fn exit(well: bool) -> ! {
    const SIFIVE_TEST: usize = 0x10_0000;
    /// Ends QEMU with the exit code in the upper half.
    const END: u32 = 0x3333;
    let code: u32 = if well { 33 } else { 35 };
    let device = core::ptr::with_exposed_provenance_mut::<u32>(SIFIVE_TEST);
    loop {
        // SAFETY: the machine `virt` has its exit device at this address.
        unsafe { device.write_volatile(code << 16 | END) };
    }
}
