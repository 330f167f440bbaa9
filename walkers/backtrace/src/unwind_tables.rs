//! Registration of compiled code's unwind tables, for as long as a value lives.

use crate::aligned_table::AlignedTable;
use crate::augmentation::Addresses;
use crate::compiled_code::CompiledCode;
use crate::eh_frame::{self, Function};
use crate::error::UnwindTablesError;
use crate::registration::{Registration, SUPPORTED};
use core::ops::Range;
use core::ptr::NonNull;

/// Unwind tables that the system's unwinder knows until this is dropped.
///
/// A just-in-time compiler emits unwind tables with its code, in the format of an `.eh_frame`
/// section. Without them the unwinder stops at the first frame of that code. Every collection then
/// finds that the walk is incomplete, and keeps everything.
///
/// From the first to the last function of a registered table, code is compiled code to
/// [`BacktraceWalker`](crate::BacktraceWalker). If no module is registered there, a collection
/// keeps everything and says so, instead of taking what a frame of it holds for garbage. So the
/// stack-map registry has to know all of this code: trampolines that lie apart are a module without
/// functions. A host with several stack-map registries whose code meets on one stack registers its
/// unwind tables by other means.
///
/// The table is checked first. A table that an unwinder would misread or abort at is refused:
///
/// ```
/// use vmexternref_backtrace::{UnwindTables, UnwindTablesError};
///
/// let unterminated = Box::new([]);
/// // SAFETY: a table without entries describes no code.
/// let refused = unsafe { UnwindTables::register(unterminated) };
/// # if cfg!(all(unix, not(target_arch = "arm"))) {
/// assert_eq!(refused.err(), Some(UnwindTablesError::Unterminated));
/// # }
/// ```
#[derive(Debug)]
pub struct UnwindTables {
    _code: CompiledCode,
    _registration: Registration,
}

// SAFETY: unwinders register and find tables under locks of their own, from any thread, and a
// registered table is only read.
unsafe impl Send for UnwindTables {}
// SAFETY: a shared reference gives access to nothing but formatting.
unsafe impl Sync for UnwindTables {}

impl UnwindTables {
    /// Registers a copy of a table whose addresses are absolute.
    ///
    /// The table can lie at any address. The copy is aligned, and is freed when this is dropped.
    ///
    /// # Errors
    ///
    /// [`UnwindTablesError`] if the table is malformed or has relative addresses, or there is no
    /// memory. The unwinder then does not see it.
    ///
    /// # Safety
    ///
    /// Until the value is dropped,
    ///
    /// - the code that the table describes stays where it is, and the table describes it truly;
    /// - no other registered table describes code between the first and the last byte of that code.
    pub unsafe fn register(eh_frame: Box<[u8]>) -> Result<Self, UnwindTablesError> {
        let copy = AlignedTable::copy(&eh_frame)?;
        // SAFETY: the copy lives as long as its registration, and the caller guarantees the rest.
        unsafe { Self::check_and_register(copy.as_ptr(), Addresses::Absolute, Some(copy)) }
    }

    /// Registers a table where it lies, such as behind the code itself.
    ///
    /// Its addresses may be relative to themselves. It starts at a multiple of four bytes.
    ///
    /// # Errors
    ///
    /// [`UnwindTablesError`] if the table is malformed or misaligned, or there is no memory. The
    /// unwinder then does not see it.
    ///
    /// # Safety
    ///
    /// As for [`UnwindTables::register`]. In addition, `eh_frame` is readable and is not written to
    /// until the value is dropped.
    pub unsafe fn register_in_place(eh_frame: *const [u8]) -> Result<Self, UnwindTablesError> {
        // SAFETY: the caller guarantees the same.
        unsafe { Self::check_and_register(eh_frame, Addresses::Any, None) }
    }

    /// Checks a table whose addresses may be relative, and returns the number of functions in it.
    ///
    /// The other functions check what they register. This one is for a host that wants to know
    /// earlier, or that does not trust where the table came from: it takes any bytes.
    ///
    /// # Errors
    ///
    /// [`UnwindTablesError`] if the table is malformed, or there is no memory.
    pub fn check(eh_frame: &[u8]) -> Result<usize, UnwindTablesError> {
        eh_frame::check(eh_frame, Addresses::Any).map(|functions| functions.len())
    }

    /// Registers a table that passes the check, and keeps its `memory` if it is owned.
    ///
    /// # Safety
    ///
    /// As for [`UnwindTables::register_in_place`].
    unsafe fn check_and_register(
        eh_frame: *const [u8],
        allowed: Addresses,
        memory: Option<AlignedTable>,
    ) -> Result<Self, UnwindTablesError> {
        if !SUPPORTED {
            return Err(UnwindTablesError::Unsupported);
        }
        let start = NonNull::new(eh_frame.cast::<u8>().cast_mut());
        let start = start.ok_or(UnwindTablesError::Unterminated)?;
        // SAFETY: the caller guarantees that the table is readable and is not written to.
        let functions = eh_frame::check(unsafe { &*eh_frame }, allowed)?;
        if start.addr().get() % align_of::<u32>() != 0 {
            return Err(UnwindTablesError::Misaligned);
        }
        let code = CompiledCode::new(code_of(&functions))?;
        // SAFETY: the check accepted the table, and the caller guarantees that it is true.
        let registration = unsafe { Registration::new(start, &functions, memory) }?;
        log::debug!(
            "registered unwind tables of {} functions at {start:p}",
            functions.len()
        );
        Ok(Self {
            _code: code,
            _registration: registration,
        })
    }
}

/// From the first to the last byte of the functions' code.
fn code_of(functions: &[Function]) -> Range<usize> {
    let start = functions.iter().map(|function| function.code.start).min();
    let end = functions.iter().map(|function| function.code.end).max();
    let address = |address: Option<u64>| address.map_or(0, |it| usize::try_from(it).unwrap_or(0));
    address(start)..address(end)
}

#[cfg(test)]
mod tests {
    use super::{UnwindTables, UnwindTablesError};

    #[test]
    fn a_malformed_table_is_refused_in_both_forms() {
        #[repr(align(4))]
        struct Aligned([u8; 16]);
        for bytes in [&[][..], &[1, 2, 3], &[0xff; 16], &[16, 0, 0, 0, 0, 0, 0, 0]] {
            let mut aligned = Aligned([0; 16]);
            aligned.0[..bytes.len()].copy_from_slice(bytes);
            // SAFETY: the tables describe no code, and the memory outlives the call.
            let refused = unsafe {
                (
                    UnwindTables::register(bytes.into()),
                    UnwindTables::register_in_place(&raw const aligned.0[..bytes.len()]),
                )
            };
            assert!(refused.0.is_err(), "{bytes:x?}");
            assert_eq!(refused.0.err(), refused.1.err(), "{bytes:x?}");
        }
    }

    #[cfg(all(unix, not(target_arch = "arm")))]
    #[test]
    fn a_table_that_lies_misaligned_is_refused_in_place() {
        let words = [0_u32; 4];
        for start in 1..4 {
            let table = words.as_ptr().cast::<u8>().wrapping_add(start);
            let table = core::ptr::slice_from_raw_parts(table, 4);
            // SAFETY: the table describes no code, and `words` outlives the call.
            let refused = unsafe { UnwindTables::register_in_place(table) };
            assert_eq!(refused.err(), Some(UnwindTablesError::Misaligned));
        }
    }

    #[cfg(all(unix, not(target_arch = "arm")))]
    #[test]
    fn a_table_without_functions_can_be_registered_and_dropped() {
        for _ in 0..3 {
            // SAFETY: the table describes no code.
            drop(unsafe { UnwindTables::register(Box::new([0; 8])) }.expect("registered"));
        }
    }
}
