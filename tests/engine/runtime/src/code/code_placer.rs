//! The host's executable memory.

use crate::error::PlaceError;
use alloc::boxed::Box;

/// Makes bytes executable.
///
/// A host with `std` maps pages. A kernel copies into memory that it has marked executable.
///
/// # Safety
///
/// An implementer guarantees for the code that `place` returns:
///
/// - its [`base`](PlacedCode::base) is aligned to `align`;
/// - the whole text starts there, and the unwind tables follow it directly;
/// - all bytes are readable and executable, and do not change, until the value is dropped;
/// - instruction caches are coherent when `place` returns.
pub unsafe trait CodePlacer {
    /// Copies `text`, and directly behind it `eh_frame`, to executable memory.
    ///
    /// A host with an unwinder may register `eh_frame` here, and deregister it when the placed code
    /// is dropped.
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
