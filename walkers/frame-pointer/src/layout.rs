//! The record that trampolines write, and the offsets that compiled code bakes in.
//!
//! ```text
//!   ActivationRecord           written by            saved by `enter`
//!  +-----------------+
//!  | exit_pc         | 0      the exit trampoline        yes
//!  | exit_fp         | 1      the exit trampoline        yes
//!  | entry_fp        | 2      the entry trampoline       yes
//!  | (private)       | 3      the host
//!  +-----------------+ 4 words
//! ```

use crate::activation::Saved;
use core::cell::Cell;
use core::fmt;
use core::mem::{offset_of, size_of};
use core::ptr;

/// Where a host context's compiled code was entered and left.
///
/// One for each host context (store), at an address that compiled code knows, such as the first
/// field of the context. All zero means: no Wasm on the stack.
///
/// ```
/// use vmexternref_frame_pointer::ActivationRecord;
///
/// #[repr(C)]
/// struct Context {
///     record: ActivationRecord,
///     // … whatever else compiled code reads.
/// }
///
/// let context = Context { record: ActivationRecord::new() };
/// assert_eq!(context.record.entry_fp(), 0);
/// ```
#[repr(C)]
pub struct ActivationRecord {
    pub(crate) exit_pc: Cell<usize>,
    pub(crate) exit_fp: Cell<usize>,
    pub(crate) entry_fp: Cell<usize>,
    pub(crate) older: Cell<*const Saved>,
}

impl ActivationRecord {
    /// A record of no activation.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            exit_pc: Cell::new(0),
            exit_fp: Cell::new(0),
            entry_fp: Cell::new(0),
            older: Cell::new(ptr::null()),
        }
    }

    /// Whether no [`enter`](Self::enter) of this record runs.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.older.get().is_null()
    }

    /// The return address of the youngest exit trampoline, or 0.
    #[must_use]
    pub fn exit_pc(&self) -> usize {
        self.exit_pc.get()
    }

    /// The frame pointer of the youngest exit trampoline, or 0.
    #[must_use]
    pub fn exit_fp(&self) -> usize {
        self.exit_fp.get()
    }

    /// The frame pointer of the youngest entry trampoline, or 0.
    #[must_use]
    pub fn entry_fp(&self) -> usize {
        self.entry_fp.get()
    }
}

impl Default for ActivationRecord {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ActivationRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActivationRecord")
            .field("exit_pc", &format_args!("{:#x}", self.exit_pc()))
            .field("exit_fp", &format_args!("{:#x}", self.exit_fp()))
            .field("entry_fp", &format_args!("{:#x}", self.entry_fp()))
            .field("nested", &!self.is_idle())
            .finish()
    }
}

/// Byte offsets in an [`ActivationRecord`], for a target's pointer width.
///
/// ```
/// use vmexternref_frame_pointer::RecordOffsets;
///
/// assert_eq!(RecordOffsets::new(4).entry_fp(), 8);
/// assert_eq!(RecordOffsets::new(8).entry_fp(), 16);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordOffsets {
    pointer_bytes: u8,
}

impl RecordOffsets {
    /// The offsets of the machine that this crate was compiled for.
    pub const HOST: Self = Self::new(if size_of::<usize>() == 8 { 8 } else { 4 });

    /// The offsets of a target whose pointers have `pointer_bytes` bytes.
    ///
    /// # Panics
    ///
    /// If `pointer_bytes` is neither 4 nor 8.
    #[must_use]
    pub const fn new(pointer_bytes: u8) -> Self {
        assert!(
            pointer_bytes == 4 || pointer_bytes == 8,
            "a pointer has 4 or 8 bytes"
        );
        Self { pointer_bytes }
    }

    /// Where an exit trampoline stores its own return address, one word.
    #[must_use]
    pub const fn exit_pc(self) -> u8 {
        0
    }

    /// Where an exit trampoline stores its own frame pointer, one word.
    #[must_use]
    pub const fn exit_fp(self) -> u8 {
        self.pointer_bytes
    }

    /// Where an entry trampoline stores its own frame pointer, one word.
    #[must_use]
    pub const fn entry_fp(self) -> u8 {
        2 * self.pointer_bytes
    }

    /// Bytes in an [`ActivationRecord`].
    #[must_use]
    pub const fn size(self) -> u8 {
        4 * self.pointer_bytes
    }
}

const _: () = {
    const HOST: RecordOffsets = RecordOffsets::HOST;
    assert!(offset_of!(ActivationRecord, exit_pc) == HOST.exit_pc() as usize);
    assert!(offset_of!(ActivationRecord, exit_fp) == HOST.exit_fp() as usize);
    assert!(offset_of!(ActivationRecord, entry_fp) == HOST.entry_fp() as usize);
    assert!(size_of::<ActivationRecord>() == HOST.size() as usize);
    assert!(size_of::<ActivationRecord>() == size_of::<[usize; 4]>());
};

#[cfg(test)]
mod tests {
    use super::{ActivationRecord, RecordOffsets};
    use std::format;

    #[test]
    fn offsets_for_other_targets_scale_with_the_pointer() {
        for bytes in [4, 8] {
            let offsets = RecordOffsets::new(bytes);
            let fields = [
                offsets.exit_pc(),
                offsets.exit_fp(),
                offsets.entry_fp(),
                offsets.size(),
            ];
            assert_eq!(fields, [0, bytes, 2 * bytes, 4 * bytes]);
        }
    }

    #[test]
    #[should_panic(expected = "4 or 8 bytes")]
    fn a_pointer_of_two_bytes_is_refused() {
        let _ = RecordOffsets::new(2);
    }

    #[test]
    fn debug_shows_addresses_as_such() {
        let record = ActivationRecord::default();
        record.exit_fp.set(0xbeef);
        let shown = format!("{record:?}");
        assert!(shown.contains("exit_fp: 0xbeef"), "{shown}");
        assert!(shown.contains("nested: false"), "{shown}");
    }
}
