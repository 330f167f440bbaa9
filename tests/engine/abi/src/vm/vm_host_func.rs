//! Host functions as compiled code calls them.

use crate::vm::vm_context::VMContext;
use core::ffi::c_void;

/// The code of a host function: `(host, caller, values) -> status`.
///
/// `values` holds the arguments, eight bytes each, zero-extended, and takes the results. It has as
/// many slots as [`FuncType::slots`](crate::FuncType::slots) says. Status 0 means that the function
/// returned. Any other status means that it trapped and has recorded the trap with the runtime. A
/// reference argument is alive until something collects. A reference result is in the store's
/// activations table.
pub type RawHostFn = unsafe extern "C" fn(
    host: *const VMHostFunc,
    caller: *const VMContext,
    values: *mut u64,
) -> u32;

/// The target of the `vmctx` of a host function.
#[repr(C)]
#[derive(Debug)]
pub struct VMHostFunc {
    /// The code that an exit trampoline calls.
    pub call: RawHostFn,
    /// The value that the function was made with.
    pub context: *const c_void,
}

impl VMHostFunc {
    /// The value that the function was made with.
    ///
    /// # Safety
    ///
    /// `host` is the first argument of a running host function that was made with a `T`, and its
    /// store outlives `'a`.
    #[must_use]
    pub const unsafe fn context<'a, T: 'static>(host: *const Self) -> &'a T {
        // SAFETY: the caller guarantees that the context is a `T` and outlives the reference.
        unsafe { &*(*host).context.cast::<T>() }
    }
}
