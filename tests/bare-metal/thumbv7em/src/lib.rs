//! The machine `mps2-an386` of QEMU: start-up code, its serial port, and its end.
//!
//! A host defines `kernel_main` and `kernel_fault`, and links with `link.ld`.

#![no_std]

use core::arch::{asm, global_asm};
use core::fmt;

global_asm!(include_str!("start.s"));

/// The first serial port.
#[derive(Debug)]
pub struct Console(());

impl Console {
    /// Switches the port on.
    #[must_use]
    pub fn new() -> Self {
        const BAUD_DIVIDER: usize = 0x10;
        const CONTROL: usize = 0x8;
        const TRANSMIT: u32 = 1;
        register(BAUD_DIVIDER, 16);
        register(CONTROL, TRANSMIT);
        Self(())
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const DATA: usize = 0;
        // QEMU's port takes bytes at any speed.
        text.bytes().for_each(|byte| register(DATA, byte.into()));
        Ok(())
    }
}

/// Writes to a register of the serial port.
fn register(offset: usize, value: u32) {
    const UART0: usize = 0x4000_4000;
    let register = core::ptr::with_exposed_provenance_mut::<u32>(UART0 + offset);
    // SAFETY: the machine `mps2-an386` has the registers of its serial port there, which are no
    // memory of Rust's.
    unsafe { register.write_volatile(value) };
}

/// Ends QEMU, by semihosting, with exit code 33 if all went well, and 35 if not.
pub fn exit(well: bool) -> ! {
    const SYS_EXIT_EXTENDED: u32 = 0x20;
    const APPLICATION_EXIT: u32 = 0x20026;
    let block = [APPLICATION_EXIT, if well { 33 } else { 35 }];
    loop {
        // SAFETY: QEMU reads the two words of the block, and ends.
        unsafe { asm!("bkpt #0xab", in("r0") SYS_EXIT_EXTENDED, in("r1") &raw const block) };
    }
}
