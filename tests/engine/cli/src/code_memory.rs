//! Executable memory: mapped, written, and then never writable again.

use core::cell::Cell;
use core::ptr;
use memmap2::{Mmap, MmapMut};
use vmexternref_backtrace::UnwindTables;
use vmexternref_engine_runtime::{CodePlacer, PlaceError, PlacedCode};

/// The least page size of the machines that the engine runs on, in bytes.
const PAGE: usize = 4096;

/// Places code in anonymous mappings, and tells the system's unwinder about it.
#[derive(Debug, Default)]
pub(crate) struct CodeMemory {
    newest: Cell<Option<usize>>,
}

impl CodeMemory {
    /// The address of the text that was placed last.
    pub(crate) fn newest(&self) -> Option<usize> {
        self.newest.get()
    }
}

/// Code in a mapping of its own.
struct MappedCode {
    // Dropped in this order: the unwinder forgets the code before it is unmapped.
    _unwind_tables: UnwindTables,
    mapping: Mmap,
}

impl PlacedCode for MappedCode {
    fn base(&self) -> *const u8 {
        self.mapping.as_ptr()
    }
}

// SAFETY: a mapping starts at a page, holds the text and the tables behind it, and is read-only and executable,
// with coherent caches, from here until it is unmapped.
unsafe impl CodePlacer for CodeMemory {
    fn place(
        &self,
        text: &[u8],
        eh_frame: &[u8],
        align: usize,
    ) -> Result<Box<dyn PlacedCode>, PlaceError> {
        if align > PAGE {
            return Err(PlaceError::OutOfMemory);
        }
        let bytes = text.len() + eh_frame.len();
        let mut mapping = MmapMut::map_anon(bytes.max(1)).map_err(|_| PlaceError::OutOfMemory)?;
        mapping[..text.len()].copy_from_slice(text);
        mapping[text.len()..bytes].copy_from_slice(eh_frame);
        let mapping = mapping.make_exec().map_err(|_| PlaceError::NotExecutable)?;
        instruction_cache::sync(&mapping);
        let tables = ptr::from_ref(&mapping[text.len()..bytes]);
        // SAFETY: the compiler made the tables for this text, the mapping outlives their registration, and no other
        // table describes it.
        let unwind_tables = unsafe { UnwindTables::register_in_place(tables) }
            .map_err(|_| PlaceError::BadUnwindTables)?;
        self.newest.set(Some(mapping.as_ptr().addr()));
        Ok(Box::new(MappedCode {
            _unwind_tables: unwind_tables,
            mapping,
        }))
    }
}

/// x86 keeps its instruction cache coherent by itself.
#[cfg(target_arch = "x86_64")]
mod instruction_cache {
    /// Makes `code` visible to instruction fetches.
    pub(super) fn sync(_code: &[u8]) {}
}

#[cfg(not(target_arch = "x86_64"))]
mod instruction_cache {
    use core::ffi::c_char;

    unsafe extern "C" {
        /// From the compiler's run-time library.
        fn __clear_cache(begin: *mut c_char, end: *mut c_char);
    }

    /// Makes `code` visible to instruction fetches.
    pub(super) fn sync(code: &[u8]) {
        let range = code.as_ptr_range();
        // SAFETY: both ends are of one readable slice, and only caches are touched.
        unsafe { __clear_cache(range.start.cast_mut().cast(), range.end.cast_mut().cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::{CodeMemory, PAGE};
    use vmexternref_engine_runtime::{CodePlacer, PlaceError};

    #[test]
    fn text_and_tables_lie_side_by_side() {
        let code = CodeMemory::default()
            .place(&[0xc3; 16], &[0; 4], 16)
            .unwrap();
        // SAFETY: twenty bytes were placed there and are readable.
        let placed = unsafe { core::slice::from_raw_parts(code.base(), 20) };
        assert_eq!(&placed[..16], [0xc3; 16]);
        assert_eq!(&placed[16..], [0; 4]);
        assert_eq!(code.base().addr() % PAGE, 0);
    }

    #[test]
    fn malformed_tables_are_refused() {
        let refused = CodeMemory::default().place(&[0xc3; 16], &[1; 3], 16);
        assert_eq!(refused.err(), Some(PlaceError::BadUnwindTables));
    }
}
