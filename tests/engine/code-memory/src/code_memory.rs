//! Memory that is mapped, written, and then never writable again.

use crate::instruction_cache;
use core::cell::RefCell;
use core::ops::Range;
use core::ptr;
use memmap2::{Mmap, MmapMut};
use vmexternref_backtrace::{UnwindTables, UnwindTablesError};
use vmexternref_engine_runtime::{CodePlacer, PlaceError, PlacedCode, try_box};

/// The smallest page size of the machines that the engine runs on, in bytes.
const PAGE: usize = 4096;

/// The addresses of a module's text and of its unwind tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The machine code.
    pub text: Range<usize>,
    /// The `.eh_frame` section, right behind it.
    pub eh_frame: Range<usize>,
}

/// Places code in anonymous mappings, and registers its unwind tables.
#[derive(Debug, Default)]
pub struct CodeMemory {
    newest: RefCell<Option<Placement>>,
}

impl CodeMemory {
    /// The addresses of the code that was placed last.
    #[must_use]
    pub fn newest(&self) -> Option<Placement> {
        self.newest.borrow().clone()
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

// SAFETY: a mapping starts at a page, holds the text and the tables behind it, and is read-only and
// executable, with coherent caches, from here until it is unmapped.
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
        instruction_cache::synchronize(&mapping);
        let tables = ptr::from_ref(&mapping[text.len()..bytes]);
        // SAFETY: the compiler made the tables for this text, the mapping outlives their
        // registration, and no other table describes it.
        let unwind_tables =
            unsafe { UnwindTables::register_in_place(tables) }.map_err(|error| match error {
                UnwindTablesError::OutOfMemory => PlaceError::OutOfMemory,
                _ => PlaceError::BadUnwindTables,
            })?;
        let base = mapping.as_ptr().expose_provenance();
        let code = try_box(MappedCode {
            _unwind_tables: unwind_tables,
            mapping,
        });
        let code = code.map_err(|_| PlaceError::OutOfMemory)?;
        self.newest.replace(Some(Placement {
            text: base..base + text.len(),
            eh_frame: base + text.len()..base + bytes,
        }));
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::{CodeMemory, PAGE};
    use vmexternref_engine_runtime::{CodePlacer, PlaceError};

    #[test]
    fn tables_lie_right_behind_the_text() {
        let memory = CodeMemory::default();
        let code = memory.place(&[0xc3; 16], &[0; 4], 16).unwrap();
        // SAFETY: twenty bytes were placed there and are readable.
        let placed = unsafe { core::slice::from_raw_parts(code.base(), 20) };
        assert_eq!(&placed[..16], [0xc3; 16]);
        assert_eq!(&placed[16..], [0; 4]);
        let base = code.base().addr();
        assert_eq!(base % PAGE, 0);
        let placement = memory.newest().unwrap();
        assert_eq!(placement.text, base..base + 16);
        assert_eq!(placement.eh_frame, base + 16..base + 20);
    }

    #[test]
    fn refused_code_leaves_no_trace() {
        let memory = CodeMemory::default();
        let refused = memory.place(&[0xc3; 16], &[1; 4], 16);
        assert_eq!(refused.err(), Some(PlaceError::BadUnwindTables));
        let refused = memory.place(&[0xc3; 16], &[0; 4], 2 * PAGE);
        assert_eq!(refused.err(), Some(PlaceError::OutOfMemory));
        assert_eq!(memory.newest(), None);
    }
}
