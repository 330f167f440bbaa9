//! An owned table: aligned for unwinders, and where it stays.

use crate::error::UnwindTablesError;
use core::ptr::{self, NonNull};

/// A copy of a table, at an address that is a multiple of four.
#[derive(Debug)]
pub(crate) struct AlignedTable {
    /// From a box, kept as a pointer: moving a box invalidates other pointers to its content.
    words: NonNull<[u32]>,
    /// Bytes of the table; the last word may have further ones.
    bytes: usize,
}

impl AlignedTable {
    pub(crate) fn copy(table: &[u8]) -> Result<Self, UnwindTablesError> {
        let mut copy = Vec::new();
        let reserved = copy.try_reserve_exact(table.len().div_ceil(size_of::<u32>()));
        reserved.map_err(|_| UnwindTablesError::OutOfMemory)?;
        let words = table.chunks(size_of::<u32>()).map(|chunk| {
            let mut word = [0; size_of::<u32>()];
            word[..chunk.len()].copy_from_slice(chunk);
            u32::from_ne_bytes(word)
        });
        copy.extend(words);
        Ok(Self {
            words: NonNull::from(Box::leak(copy.into_boxed_slice())),
            bytes: table.len(),
        })
    }

    /// The table, for as long as this lives.
    pub(crate) fn as_ptr(&self) -> *const [u8] {
        ptr::slice_from_raw_parts(self.words.as_ptr().cast(), self.bytes)
    }
}

impl Drop for AlignedTable {
    fn drop(&mut self) {
        // SAFETY: `copy` got this pointer from a box, and only this frees it.
        drop(unsafe { Box::from_raw(self.words.as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use super::AlignedTable;

    #[test]
    fn a_copy_has_the_same_bytes_and_is_aligned() {
        let bytes = [1_u8, 2, 3, 4, 5, 6, 7, 8, 9];
        for length in 0..bytes.len() {
            for start in 0..bytes.len() - length {
                let table = &bytes[start..start + length];
                let copy = AlignedTable::copy(table).unwrap();
                assert_eq!(copy.as_ptr().addr() % 4, 0);
                // SAFETY: the copy lives, and nothing writes to it.
                assert_eq!(unsafe { &*copy.as_ptr() }, table);
            }
        }
    }
}
