//! Where a frame record has its parts.
//!
//! ```text
//!            a pair                                 a back chain (s390x)
//!
//!  |              | <- sp of the caller,       |              |
//!  +--------------+    at the call             +--------------+
//!  | return pc    |                            |  ...         |    160 bytes, in which the
//!  | older fp     | <- record                  | return pc    |    callee saves registers
//!  +--------------+                            |  ...         |
//!  |              |                            | older fp     | <- record, and
//!                                              +--------------+    sp of the caller
//!                                              |              |
//! ```
//!
//! On `s390x` each frame ends with the area in which its callees save registers. Its first word is
//! the back chain: the address of the caller's area. Cranelift keeps it with
//! `preserve_frame_pointers`. A frame's stack pointer at a call is the address of its area, and its
//! frame pointer that of its caller's. Sources: the `s390x` ELF ABI supplement, and
//! `isa/s390x/abi.rs` in Cranelift.

/// Bytes in a word of the host.
pub(crate) const WORD: usize = size_of::<usize>();

/// Where a frame record has its parts, in bytes from its address. The first word is the older `fp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordLayout {
    /// The return address.
    pub(crate) return_address: usize,
    /// The end. The next record begins there or above.
    pub(crate) size: usize,
    /// The stack pointer of the caller, at the call.
    pub(crate) caller_sp: usize,
}

impl RecordLayout {
    /// Two words that a function stores on entry.
    pub(crate) const PAIR: Self = Self {
        return_address: WORD,
        size: 2 * WORD,
        caller_sp: 2 * WORD,
    };

    /// The area of twenty words in which a function saves registers; `r14` returns.
    pub(crate) const BACK_CHAIN: Self = Self {
        return_address: 14 * WORD,
        size: 20 * WORD,
        caller_sp: 0,
    };

    /// What compiled code keeps on this architecture.
    pub(crate) const OF_COMPILED_CODE: Self = if cfg!(target_arch = "s390x") {
        Self::BACK_CHAIN
    } else {
        Self::PAIR
    };
}
