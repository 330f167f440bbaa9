//! Executable memory for machines on which all memory is executable.

use alloc::alloc::{alloc, dealloc};
use alloc::boxed::Box;
use core::alloc::Layout;
use core::fmt;
use core::ptr::{self, NonNull};
use vmexternref_engine_runtime::{CodePlacer, PlaceError, PlacedCode, try_box};

/// Places code in the heap.
#[derive(Clone, Copy)]
pub struct RamPlacer {
    synchronize: fn(*const u8, usize),
}

impl RamPlacer {
    /// A placer that calls `synchronize` with the address and the number of bytes of new code.
    ///
    /// `synchronize` makes the code visible to instruction fetches.
    #[must_use]
    pub const fn new(synchronize: fn(*const u8, usize)) -> Self {
        Self { synchronize }
    }
}

/// Code in a block of the heap.
struct Block {
    base: NonNull<u8>,
    layout: Layout,
}

impl PlacedCode for Block {
    fn base(&self) -> *const u8 {
        self.base.as_ptr()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: `place` allocated the block with this layout, and its owner is being dropped.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

// SAFETY: the block is aligned as asked, holds both parts and is not written again; the host of
// this placer maps its heap executable and synchronizes its caches.
unsafe impl CodePlacer for RamPlacer {
    fn place(
        &self,
        text: &[u8],
        eh_frame: &[u8],
        align: usize,
    ) -> Result<Box<dyn PlacedCode>, PlaceError> {
        let bytes = text.len() + eh_frame.len();
        let layout = Layout::from_size_align(bytes.max(1), align);
        let layout = layout.map_err(|_| PlaceError::OutOfMemory)?;
        // SAFETY: the layout has at least one byte.
        let base = NonNull::new(unsafe { alloc(layout) }).ok_or(PlaceError::OutOfMemory)?;
        let to = base.as_ptr();
        // SAFETY: the block has room for both, one after the other.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), to, text.len());
            ptr::copy_nonoverlapping(eh_frame.as_ptr(), to.add(text.len()), eh_frame.len());
        }
        (self.synchronize)(to, bytes);
        let block = try_box(Block { base, layout });
        Ok(block.map_err(|_| PlaceError::OutOfMemory)?)
    }
}

impl fmt::Debug for RamPlacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RamPlacer").finish_non_exhaustive()
    }
}
