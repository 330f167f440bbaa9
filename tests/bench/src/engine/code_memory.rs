//! Executable memory for our engine.

use core::cell::RefCell;
use core::ops::Range;
use core::ptr;
use memmap2::{Mmap, MmapMut};
use std::rc::Rc;
use vmexternref_backtrace::UnwindTables;
use vmexternref_engine_runtime::{CodePlacer, PlaceError, PlacedCode};

/// Where a text and its unwind tables are, as addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) text: Range<usize>,
    pub(crate) eh_frame: Range<usize>,
}

/// Places code in a mapping, and remembers where the last one is.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodeMemory {
    pub(crate) last: Rc<RefCell<Placed>>,
}

struct MappedCode {
    /// Goes before the mapping that it lies in.
    _unwind_tables: UnwindTables,
    mapping: Mmap,
}

impl PlacedCode for MappedCode {
    fn base(&self) -> *const u8 {
        self.mapping.as_ptr()
    }
}

// SAFETY: a mapping begins at a page and is never written again, and the benchmark runs where caches are coherent.
unsafe impl CodePlacer for CodeMemory {
    fn place(
        &self,
        text: &[u8],
        eh_frame: &[u8],
        _align: usize,
    ) -> Result<Box<dyn PlacedCode>, PlaceError> {
        let end = text.len() + eh_frame.len();
        let mut mapping = MmapMut::map_anon(end.max(1)).map_err(|_| PlaceError::OutOfMemory)?;
        mapping[..text.len()].copy_from_slice(text);
        mapping[text.len()..end].copy_from_slice(eh_frame);
        let mapping = mapping.make_exec().map_err(|_| PlaceError::NotExecutable)?;
        let tables = ptr::from_ref(&mapping[text.len()..end]);
        // SAFETY: the compiler made these tables for this text, and the mapping outlives the registration.
        let unwind_tables = unsafe { UnwindTables::register_in_place(tables) }
            .map_err(|_| PlaceError::BadUnwindTables)?;
        let base = mapping.as_ptr().expose_provenance();
        self.last.replace(Placed {
            text: base..base + text.len(),
            eh_frame: base + text.len()..base + end,
        });
        Ok(Box::new(MappedCode {
            _unwind_tables: unwind_tables,
            mapping,
        }))
    }
}
