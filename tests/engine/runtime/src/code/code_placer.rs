//! Where executable memory comes from: the host brings it.

use alloc::boxed::Box;

use crate::error::PlaceError;

/// Makes bytes executable.
///
/// The std host maps pages; a kernel copies into memory that it marked executable.
///
/// # Safety
///
/// An implementer guarantees that `place` returns code whose [`base`](PlacedCode::base) is aligned as asked and is
/// followed, unchanged, readable and executable until the value is dropped, by the whole text and, right after it,
/// the unwind tables; and that instruction caches are coherent when `place` returns.
pub unsafe trait CodePlacer {
    /// Copies `text` and right behind it `eh_frame` to executable memory.
    ///
    /// A host with an unwinder may register `eh_frame` here, and deregister it when the placed code is dropped.
    ///
    /// # Errors
    ///
    /// When there is no memory, or the host refuses to make it executable.
    fn place(
        &self,
        text: &[u8],
        eh_frame: &[u8],
        align: usize,
    ) -> Result<Box<dyn PlacedCode>, PlaceError>;
}

/// Executable memory; dropping it frees it.
pub trait PlacedCode {
    /// The address of the first byte of the text.
    fn base(&self) -> *const u8;
}
