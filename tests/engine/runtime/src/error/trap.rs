//! Traps.

use crate::heap::try_to_string;
use alloc::string::String;
use core::fmt;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::TrapCode;

/// Why a call into Wasm did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The kind of trap.
    pub code: TrapCode,
    /// The message of a host function.
    pub message: Option<String>,
}

impl Trap {
    /// The trap of a host function that failed.
    ///
    /// Without memory for the message it is the trap [`TrapCode::OutOfMemory`].
    pub fn host(message: impl fmt::Display) -> Self {
        match try_to_string(message) {
            Ok(message) => Self {
                code: TrapCode::Host,
                message: Some(message),
            },
            Err(error) => error.into(),
        }
    }
}

impl From<TrapCode> for Trap {
    fn from(code: TrapCode) -> Self {
        Self {
            code,
            message: None,
        }
    }
}

impl<T> From<OutOfMemory<T>> for Trap {
    fn from(_: OutOfMemory<T>) -> Self {
        TrapCode::OutOfMemory.into()
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => f.write_str(message),
            None => self.code.fmt(f),
        }
    }
}

impl core::error::Error for Trap {}
