//! Registration of compiled code's unwind tables, for as long as a value lives.

use crate::eh_frame::{self, UnwindTablesError};
use crate::registrar::{Given, SUPPORTED};
use core::fmt;
use core::ptr::NonNull;

/// Unwind tables that the system's unwinder knows until this is dropped.
///
/// Code from a just-in-time compiler comes with unwind tables, in the format of an `.eh_frame`
/// section, and without registering them the unwinder stops at the first frame of that code: every
/// collection then sees a walk that is not covered, and keeps everything.
///
/// The table is checked first. One that an unwinder would trip over is refused:
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
pub struct UnwindTables {
    // Dropped in this order: taken back before its memory is freed.
    given: Given,
    _owned: Option<Owned>,
}

// SAFETY: unwinders register and find tables under locks of their own, from any thread, and a
// registered table is only read.
unsafe impl Send for UnwindTables {}
// SAFETY: a shared reference gives access to nothing but formatting.
unsafe impl Sync for UnwindTables {}

impl UnwindTables {
    /// Registers a table whose addresses are absolute, and keeps it.
    ///
    /// # Errors
    ///
    /// [`UnwindTablesError`] if the table is malformed; the unwinder then does not get to see it.
    ///
    /// # Safety
    ///
    /// Until the value is dropped,
    ///
    /// - the code that the table describes stays where it is, and the table describes it truly;
    /// - no other registered table describes the same code.
    pub unsafe fn register(eh_frame: Box<[u8]>) -> Result<Self, UnwindTablesError> {
        let owned = Owned::new(eh_frame);
        let table: *const [u8] = owned.0.as_ptr();
        // SAFETY: the caller guarantees the rest, and the table lives as long as its registration.
        let registered = unsafe { Self::register_in_place(table)? };
        Ok(Self {
            _owned: Some(owned),
            ..registered
        })
    }

    /// Registers a table that lies in memory of the host's, such as behind the code itself.
    ///
    /// This is the form for tables whose addresses are relative to where they lie.
    ///
    /// # Errors
    ///
    /// [`UnwindTablesError`] if the table is malformed; the unwinder then does not get to see it.
    ///
    /// # Safety
    ///
    /// As for [`UnwindTables::register`]; and until the value is dropped, `eh_frame` is readable
    /// and is not written to.
    pub unsafe fn register_in_place(eh_frame: *const [u8]) -> Result<Self, UnwindTablesError> {
        if !SUPPORTED {
            return Err(UnwindTablesError::Unsupported);
        }
        let start = NonNull::new(eh_frame.cast::<u8>().cast_mut());
        let start = start.ok_or(UnwindTablesError::Unterminated)?;
        // SAFETY: the caller guarantees that the table is readable and is not written to.
        let functions = eh_frame::check(unsafe { &*eh_frame })?;
        if start.addr().get() % align_of::<u32>() != 0 {
            return Err(UnwindTablesError::Misaligned);
        }
        // SAFETY: the table was checked just now, and the caller guarantees that it is true.
        let given = unsafe { Given::give(start, &functions) };
        log::debug!(
            "registered unwind tables of {} functions at {start:p}",
            functions.len()
        );
        Ok(Self {
            given,
            _owned: None,
        })
    }
}

impl fmt::Debug for UnwindTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnwindTables")
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

/// A boxed table that the unwinder holds a pointer to.
struct Owned(NonNull<[u8]>);

impl Owned {
    fn new(table: Box<[u8]>) -> Self {
        // A pointer, as moving a box would make the unwinder's pointer into it stale.
        Self(NonNull::from(Box::leak(table)))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: `new` got this pointer from a box, and only this frees it.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use super::{Owned, UnwindTables, UnwindTablesError};

    #[test]
    fn a_malformed_table_is_refused_in_both_forms() {
        for bytes in [&[][..], &[1, 2, 3], &[0xff; 16], &[16, 0, 0, 0, 0, 0, 0, 0]] {
            // SAFETY: the tables describe no code, and the memory outlives the call.
            let refused = unsafe {
                let owned = Owned::new(Box::from(bytes));
                (
                    UnwindTables::register(bytes.into()),
                    UnwindTables::register_in_place(owned.0.as_ptr()),
                )
            };
            assert!(refused.0.is_err(), "{bytes:x?}");
            assert!(refused.1.is_err(), "{bytes:x?}");
        }
    }

    #[cfg(all(unix, not(target_arch = "arm")))]
    #[test]
    fn a_misaligned_table_is_refused() {
        let words = [0_u32; 4];
        let table = core::ptr::slice_from_raw_parts(words.as_ptr().cast::<u8>().wrapping_add(1), 4);
        // SAFETY: the table describes no code, and `words` outlives the call.
        let refused = unsafe { UnwindTables::register_in_place(table) };
        assert_eq!(refused.err(), Some(UnwindTablesError::Misaligned));
    }

    #[cfg(all(unix, not(target_arch = "arm")))]
    #[test]
    fn a_table_without_functions_can_be_registered_and_taken_back() {
        for _ in 0..3 {
            // SAFETY: the table describes no code.
            drop(unsafe { UnwindTables::register(Box::new([0; 8])) }.expect("registered"));
        }
    }

    #[cfg(all(unix, target_arch = "x86_64"))]
    mod with_compiled_code {
        use super::UnwindTables;
        use crate::BacktraceWalker;
        use crate::eh_frame::tests::entry;
        use core::ops::ControlFlow;
        use memmap2::{Mmap, MmapMut};
        use vmexternref_core::{Frame, StackWalker};

        /// A function that keeps its frame pointer, and calls its first argument with that and its
        /// second argument.
        const CODE: [u8; 14] = [
            0x55, // push rbp
            0x48, 0x89, 0xe5, // mov rbp, rsp
            0x48, 0x89, 0xf8, // mov rax, rdi
            0x48, 0x89, 0xef, // mov rdi, rbp
            0xff, 0xd0, // call rax
            0x5d, // pop rbp
            0xc3, // ret
        ];
        const RETURN_OFFSET: usize = 12;
        /// Where in the mapping the table lies, if it lies there.
        const TABLE: usize = 64;

        type Callback = extern "sysv64" fn(fp: usize, seen: &mut Seen);

        #[derive(Default)]
        struct Seen {
            fp: usize,
            frames: Vec<Frame>,
        }

        extern "sysv64" fn walk(fp: usize, seen: &mut Seen) {
            seen.fp = fp;
            BacktraceWalker.walk(&mut |frame| {
                seen.frames.push(frame);
                ControlFlow::Continue(())
            });
        }

        /// The table of `CODE`, whose function's start is written as `start`, encoded so.
        fn table(encoding: u8, start: &[u8]) -> Vec<u8> {
            // CFA = rsp + 8, the return address 8 bytes below it.
            let cie = [
                b"\x01zR\0\x01\x78\x10\x01",
                &[encoding][..],
                b"\x0c\x07\x08\x90\x01\0\0",
            ];
            let mut size = vec![0; start.len()];
            size[0] = 14;
            // After the push: CFA = rsp + 16, rbp 16 below it; after the move: from rbp.
            let fde = [
                start,
                &size,
                b"\0\x41\x0e\x10\x86\x02\x43\x0d\x06\x49\x0c\x07\x08\0\0",
            ];
            let cie = entry(0, &cie.concat());
            let back = u32::try_from(cie.len() + 4).expect("short");
            [&cie[..], &entry(back, &fde.concat()), &[0; 4]].concat()
        }

        /// Where in a table the start of its function is.
        const START_FIELD: usize = 8 + 16 + 8;

        fn map_with_table(table: &[u8]) -> Mmap {
            let mut memory = MmapMut::map_anon(4096).expect("memory");
            memory[..CODE.len()].copy_from_slice(&CODE);
            memory[TABLE..TABLE + table.len()].copy_from_slice(table);
            memory.make_exec().expect("executable memory")
        }

        fn run(code: &Mmap) -> Seen {
            // SAFETY: `CODE` is a function of this type.
            let function = unsafe {
                core::mem::transmute::<*const u8, extern "sysv64" fn(Callback, &mut Seen)>(
                    code.as_ptr(),
                )
            };
            let mut seen = Seen::default();
            function(walk, &mut seen);
            seen
        }

        /// The index of the compiled frame, of all that were seen.
        fn compiled_frame(code: &Mmap, seen: &Seen) -> usize {
            let pc = code.as_ptr().addr() + RETURN_OFFSET;
            seen.frames
                .iter()
                .position(|frame| frame.pc == pc)
                .expect("the compiled frame")
        }

        fn assert_passed(code: &Mmap) {
            let seen = run(code);
            let index = compiled_frame(code, &seen);
            assert_eq!(
                seen.frames[index].fp,
                Some(seen.fp),
                "its frame pointer is known"
            );
            assert_eq!(seen.frames[index].sp, Some(seen.fp), "it has no locals");
            assert!(
                seen.frames.len() > index + 3,
                "frames of the host are seen behind it"
            );
        }

        fn assert_not_passed(code: &Mmap) {
            let seen = run(code);
            assert_eq!(
                compiled_frame(code, &seen),
                seen.frames.len() - 1,
                "the walk ends there"
            );
        }

        #[test]
        fn compiled_frames_are_passed_while_their_relative_table_is_registered() {
            let start = i32::try_from(TABLE + START_FIELD).expect("short");
            let table = table(0x1b, &(-start).to_ne_bytes());
            let code = map_with_table(&table);
            assert_not_passed(&code);
            for _ in 0..2 {
                let in_place = &raw const code[TABLE..TABLE + table.len()];
                // SAFETY: the table describes the code it lies behind, until it is dropped below.
                let tables = unsafe { UnwindTables::register_in_place(in_place) };
                assert_passed(&code);
                drop(tables.expect("registered"));
            }
        }

        #[test]
        fn compiled_frames_are_passed_while_their_absolute_table_is_registered() {
            let code = map_with_table(&[]);
            let table = table(0x00, &code.as_ptr().addr().to_ne_bytes());
            for _ in 0..2 {
                // SAFETY: the table describes the code, which outlives it.
                let tables = unsafe { UnwindTables::register(table.clone().into()) };
                let tables = tables.expect("registered");
                assert_passed(&code);
                // Where the value is kept does not matter.
                let moved = Box::new(tables);
                assert_passed(&code);
                drop(moved);
            }
        }

        #[test]
        fn tables_can_be_registered_and_dropped_on_other_threads() {
            let code = map_with_table(&[]);
            let table = table(0x00, &code.as_ptr().addr().to_ne_bytes());
            // SAFETY: the table describes the code, which outlives it.
            let register = || unsafe { UnwindTables::register(table.into()) };
            let tables = std::thread::scope(|scope| scope.spawn(register).join());
            let tables = tables.expect("no panic").expect("registered");
            assert_passed(&code);
            std::thread::scope(|scope| scope.spawn(|| drop(tables)).join()).expect("no panic");
        }
    }
}
