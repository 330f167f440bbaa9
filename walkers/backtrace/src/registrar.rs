//! The system unwinder's registration functions.

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

    /// Stands for a function that does not exist here, where nothing is ever registered.
    ///
    /// # Safety
    ///
    /// None is needed; the real ones need a table.
    pub(super) unsafe fn __register_frame(_: *const c_void) {}

    /// Stands for a function that does not exist here, where nothing is ever registered.
    ///
    /// # Safety
    ///
    /// None is needed; the real ones need a table.
    pub(super) unsafe fn __deregister_frame(_: *const c_void) {}

    pub(super) fn takes_single_entries() -> bool {
        true
    }
}

/// What the unwinder was given, to be taken back.
#[derive(Debug)]
pub(crate) struct Given {
    /// Addresses that were registered: of a table, or of each of its entries.
    entries: Vec<NonNull<u8>>,
}

impl Given {
    /// Gives the unwinder a table with `functions`, the offsets of its entries.
    ///
    /// # Safety
    ///
    /// `table` starts a table that [`check`](crate::eh_frame::check) found well-formed, with these
    /// offsets, and which describes code truly for as long as it is registered.
    pub(crate) unsafe fn give(table: NonNull<u8>, functions: &[usize]) -> Self {
        let single = system::takes_single_entries();
        // An unwinder may refuse to take back a table that has no functions.
        let whole = if functions.is_empty() { &[] } else { &[0][..] };
        let offsets = if single { functions } else { whole };
        let mut given = Self {
            entries: Vec::with_capacity(offsets.len()),
        };
        for &offset in offsets {
            // SAFETY: the caller guarantees that the offset lies in the table.
            let entry = unsafe { table.add(offset) };
            // SAFETY: the caller guarantees that entries are well-formed and true.
            unsafe { system::__register_frame(entry.as_ptr().cast_const().cast()) };
            given.entries.push(entry);
        }
        given
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        for entry in self.entries.iter().rev() {
            // SAFETY: `give` registered this address, and only this takes it back.
            unsafe { system::__deregister_frame(entry.as_ptr().cast_const().cast()) };
        }
    }
}
