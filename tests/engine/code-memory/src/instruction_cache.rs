//! Instruction caches that do not follow writes to memory.

/// Does nothing: the processor keeps its instruction cache coherent by itself.
#[cfg(any(target_arch = "s390x", target_arch = "x86_64"))]
pub(crate) fn synchronize(_code: &[u8]) {}

/// Makes `code` visible to instruction fetches.
#[cfg(not(any(target_arch = "s390x", target_arch = "x86_64")))]
pub(crate) fn synchronize(code: &[u8]) {
    use core::ffi::c_char;

    unsafe extern "C" {
        /// From the compiler's run-time library.
        fn __clear_cache(begin: *mut c_char, end: *mut c_char);
    }

    let range = code.as_ptr_range();
    // SAFETY: both ends are of one readable slice, and the function touches only caches.
    unsafe { __clear_cache(range.start.cast_mut().cast(), range.end.cast_mut().cast()) };
}
