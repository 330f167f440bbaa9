//! Host functions.

use crate::heap::Owned;
use core::any::Any;
use core::cell::Cell;
use core::mem::offset_of;
use core::ptr;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{RawHostFn, VMFuncRef, VMHostFunc};

/// A host function as the store owns it.
///
/// Compiled code knows the address of its first field.
#[repr(C)]
pub(crate) struct HostFunc {
    vm: VMHostFunc,
    func_ref: VMFuncRef,
    /// Keeps `vm.context` alive.
    _context: Owned<dyn Any>,
}

const _: () = assert!(offset_of!(HostFunc, vm) == 0);

impl HostFunc {
    /// A function that finds `context` through its first argument.
    ///
    /// `exit_trampoline` is that of its type, or null.
    pub(crate) fn try_new<T: 'static>(
        type_id: u32,
        exit_trampoline: *const u8,
        call: RawHostFn,
        context: T,
    ) -> Result<Owned<Self>, OutOfMemory> {
        let context = Owned::try_new(context).map_err(|_| OutOfMemory(()))?;
        let context = context.erase();
        let func = Owned::try_new(Self {
            vm: VMHostFunc {
                call,
                context: context.as_ptr().as_ptr().cast(),
            },
            func_ref: VMFuncRef {
                wasm_call: Cell::new(exit_trampoline),
                vmctx: Cell::new(ptr::null()),
                type_id,
                entry: ptr::null(),
            },
            _context: context,
        })
        .map_err(|_| OutOfMemory(()))?;
        let vmctx = func.as_ptr().as_ptr().cast_const().cast();
        func.func_ref.vmctx.set(vmctx);
        Ok(func)
    }

    /// The function as a reference.
    pub(crate) const fn func_ref(&self) -> &VMFuncRef {
        &self.func_ref
    }
}
