//! Offsets and sizes that compiled code bakes in.

/// Bytes in a word of the host.
pub(crate) const WORD: usize = size_of::<usize>();

/// The same, for offsets in stack maps.
#[expect(clippy::cast_possible_truncation, reason = "a word has 4 or 8 bytes")]
pub(crate) const WORD_BYTES: u32 = WORD as u32;

/// Byte offsets and sizes that compiled code bakes in, for a target's pointer width.
///
/// ```text
///  VMExternRef                         VMExternRefActivationsTable
///      |                               +-----------+
///      |                               | next      | 0 ------------------.
///      |                               | end       | 1 word -----------. |
///      V                               | (private) |                   | |
/// +-----------+-----------+            +-----------+                   | |
/// | ref_count | kind      |                                            | |
/// +-----------+-----------+            +------+------+------+------+   | |
/// 0 words     1 word      2 words      | ref  | ref  | None | None |   | |
///                                      +------+------+------+------+   | |
///                                                    ^             ^   | |
///                                                    |             `---' |
///                                                    `-----------------'
/// ```
///
/// A slot is one word: the address of a [`VMExternData`](crate::VMExternData), or null. Compiled
/// code that inserts a reference `r` does this, in this order:
///
/// 1. if `next == end`, it calls the host, which collects and inserts;
/// 2. it stores `r` at `next`, and adds one slot to `next`;
/// 3. it adds one to the reference count of `r`, and uses `r`.
///
/// A word that was loaded from a Wasm table or global need not be inserted before the next store,
/// call or collection: until then, the table or global holds the reference. No stack map may name
/// such a word.
///
/// Compiled code that gives up a counted reference subtracts one from its count. If the count is
/// zero then, it calls [`drop_extern_ref`](crate::drop_extern_ref).
///
/// It does none of this for null, nor for
/// [immediates](crate::VMExternRefActivationsTable::set_immediate_bits).
///
/// Take [`Offsets::HOST`] in a just-in-time compiler, and [`Offsets::new`] in a compiler whose
/// target may differ from the machine it runs on.
///
/// ```
/// use vmexternref_core::Offsets;
///
/// let cortex_m = Offsets::new(4);
/// assert_eq!(cortex_m.table_end(), 4);
/// assert_eq!(cortex_m.table_next(), Offsets::HOST.table_next());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Offsets {
    pointer_bytes: u8,
}

impl Offsets {
    /// The offsets of the machine that this crate was compiled for.
    pub const HOST: Self = Self::new(if WORD == 8 { 8 } else { 4 });

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

    /// Bytes in a pointer, and so in a word.
    #[must_use]
    pub const fn pointer_bytes(self) -> u8 {
        self.pointer_bytes
    }

    /// Where a [`VMExternData`](crate::VMExternData) holds its reference count, one word.
    #[must_use]
    pub const fn ref_count(self) -> u8 {
        0
    }

    /// Where a table holds the address of the next free slot, one word.
    #[must_use]
    pub const fn table_next(self) -> u8 {
        0
    }

    /// Where a table holds the address behind its last slot, one word.
    #[must_use]
    pub const fn table_end(self) -> u8 {
        self.pointer_bytes
    }

    /// The low bits of a word that are clear in every reference, and so may mark immediates.
    ///
    /// Compiled code tests for them before it inserts or counts a word, if its table was [told
    /// so](crate::VMExternRefActivationsTable::set_immediate_bits).
    #[must_use]
    pub const fn immediate_bits(self) -> u8 {
        self.pointer_bytes - 1
    }

    /// Bytes in a slot of a table.
    #[must_use]
    pub const fn table_slot(self) -> u8 {
        self.pointer_bytes
    }
}

const _: () = assert!(Offsets::HOST.pointer_bytes() as usize == WORD);

#[cfg(test)]
mod tests {
    use super::*;

    /// What a compiler for each width has baked in: a change here breaks compiled code.
    #[test]
    fn offsets_are_those_that_compiled_code_has() {
        for (bytes, end, slot) in [(4, 4, 4), (8, 8, 8)] {
            let offsets = Offsets::new(bytes);
            let compiled = (offsets.ref_count(), offsets.table_next());
            assert_eq!(compiled, (0, 0));
            assert_eq!((offsets.table_end(), offsets.table_slot()), (end, slot));
            assert_eq!(offsets.immediate_bits(), if bytes == 4 { 3 } else { 7 });
        }
    }

    #[test]
    #[should_panic(expected = "a pointer has 4 or 8 bytes")]
    fn refuses_other_widths() {
        let _ = Offsets::new(2);
    }
}
