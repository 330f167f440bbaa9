//! The system unwinder's registration functions.

use crate::aligned_table::AlignedTable;
use crate::eh_frame::Function;
use crate::error::UnwindTablesError;
use core::ptr::NonNull;

/// Whether this platform has an unwinder that takes `.eh_frame` tables.
pub(crate) const SUPPORTED: bool = cfg!(all(unix, not(target_arch = "arm")));

#[cfg(all(unix, not(target_arch = "arm")))]
mod system {
    use core::ffi::c_void;

    unsafe extern "C" {
        pub(super) fn __register_frame(entries: *const c_void);
        pub(super) fn __deregister_frame(entries: *const c_void);
    }

    /// Whether one call registers one entry (LLVM) or a whole table (GCC).
    pub(super) fn takes_single_entries() -> bool {
        // Rust links LLVM's unwinder into static programs for musl.
        #[cfg(all(
            target_os = "linux",
            not(all(target_env = "musl", target_feature = "crt-static"))
        ))]
        {
            use core::ffi::c_char;
            use core::ptr;

            unsafe extern "C" {
                fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
            }
            // SAFETY: the name is a C string, and null is Linux's `RTLD_DEFAULT`.
            let llvm_only = unsafe { dlsym(ptr::null_mut(), c"__unw_add_dynamic_fde".as_ptr()) };
            !llvm_only.is_null()
        }
        #[cfg(not(all(
            target_os = "linux",
            not(all(target_env = "musl", target_feature = "crt-static"))
        )))]
        true
    }
}

#[cfg(not(all(unix, not(target_arch = "arm"))))]
mod system {
    use core::ffi::c_void;

    /// Does nothing: no table is registered on this platform.
    ///
    /// # Safety
    ///
    /// None. The functions of other platforms need a table.
    pub(super) unsafe fn __register_frame(_: *const c_void) {}

    /// Does nothing: no table is registered on this platform.
    ///
    /// # Safety
    ///
    /// None. The functions of other platforms need a table.
    pub(super) unsafe fn __deregister_frame(_: *const c_void) {}

    pub(super) fn takes_single_entries() -> bool {
        true
    }
}

/// Entries that the unwinder knows until this is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    /// The registered addresses: of a table, or of each of its functions' entries.
    entries: Vec<NonNull<u8>>,
    /// The entries' memory if it is owned. It is freed after `drop` has deregistered them.
    _memory: Option<AlignedTable>,
}

impl Registration {
    /// Registers a table that describes these functions, if there is memory.
    ///
    /// # Safety
    ///
    /// `table` starts a table that [`check`](crate::eh_frame::check) accepted with these functions.
    /// Until the registration is dropped, it is readable, is not written to and describes code
    /// truly. If `memory` is given, the table lies there.
    pub(crate) unsafe fn new(
        table: NonNull<u8>,
        functions: &[Function],
        memory: Option<AlignedTable>,
    ) -> Result<Self, UnwindTablesError> {
        let single = system::takes_single_entries();
        // An unwinder may refuse to deregister a table without functions.
        let count = if single {
            functions.len()
        } else {
            functions.len().min(1)
        };
        let mut entries = Vec::new();
        let reserved = entries.try_reserve_exact(count);
        reserved.map_err(|_| UnwindTablesError::OutOfMemory)?;
        let mut registration = Self {
            entries,
            _memory: memory,
        };
        for function in &functions[..count] {
            let offset = if single { function.entry } else { 0 };
            // SAFETY: the caller guarantees that the offset lies in the table.
            let entry = unsafe { table.add(offset) };
            // SAFETY: the caller guarantees that the entries are well-formed and true.
            unsafe { system::__register_frame(entry.as_ptr().cast_const().cast()) };
            registration.entries.push(entry);
        }
        Ok(registration)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        for entry in self.entries.iter().rev() {
            // SAFETY: `new` registered this address, and only this deregisters it.
            unsafe { system::__deregister_frame(entry.as_ptr().cast_const().cast()) };
        }
    }
}
