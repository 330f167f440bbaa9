//! Safepoints.

use alloc::vec::Vec;

/// One call in the text, and where its frame holds live references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safepoint {
    /// The return address of the call, from the start of the text.
    pub return_offset: u32,
    /// Bytes between the stack pointer at the call and the frame pointer.
    pub frame_bytes: u32,
    /// Where the references are: bytes from the stack pointer at the call.
    pub references: Vec<u32>,
}
