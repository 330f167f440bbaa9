//! The part of the host that differs between machines.

use alloc::string::String;
use core::fmt;

/// The machine that the host functions run on.
pub trait Platform: fmt::Debug {
    /// Prints one line.
    fn print(&self, line: fmt::Arguments<'_>);

    /// Runs `body`, a host function, once.
    ///
    /// The default does not catch panics.
    ///
    /// # Errors
    ///
    /// The message of a panic in `body`.
    fn catch(&self, body: &mut dyn FnMut()) -> Result<(), String> {
        body();
        Ok(())
    }
}
