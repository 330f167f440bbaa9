//! The machine itself: machine code that the host calls, and that calls the host.

use crate::arch;
use crate::code::{CodePlacer, PlacedCode};
use crate::error::PlaceError;
use alloc::boxed::Box;
use core::mem;
use vmexternref_engine_abi::{
    CompiledModule, TEXT_ALIGN, TrapCode, VMContext, VMFuncRef, VMStoreContext,
};
use vmexternref_frame_pointer::ActivationRecord;

/// An entry trampoline: `(callee vmctx, caller vmctx, code, slots) -> status`.
type EntryTrampoline = unsafe extern "C" fn(
    callee: *const VMContext,
    caller: *const VMContext,
    wasm_call: *const u8,
    slots: *mut u64,
) -> u32;

/// Copies the code and its unwind tables to executable memory.
pub(super) fn place(
    placer: &dyn CodePlacer,
    module: &CompiledModule,
) -> Result<Box<dyn PlacedCode>, PlaceError> {
    placer.place(&module.text, &module.eh_frame, TEXT_ALIGN)
}

/// Calls a Wasm function through the entry trampoline of its type.
///
/// # Safety
///
/// As for [`Engine::call`](super::Engine::call).
pub(super) unsafe fn call(
    record: &ActivationRecord,
    func: &VMFuncRef,
    slots: *mut u64,
) -> Result<(), Option<TrapCode>> {
    // SAFETY: the entry trampoline of a function is one that the compiler made for its type.
    let enter: EntryTrampoline = unsafe { mem::transmute(func.entry) };
    let vmctx = func.vmctx.get().cast();
    let wasm_call = func.wasm_call.get();
    // SAFETY: the caller passes slots for the function's type, which is the trampoline's type. The
    // trampoline writes to this record, and nothing walks after it has returned.
    match unsafe { record.enter(|| enter(vmctx, vmctx, wasm_call, slots)) } {
        0 => Ok(()),
        _ => Err(None),
    }
}

/// Continues at the handler of the youngest entry trampoline.
///
/// # Safety
///
/// Machine code of the store of `context` called the host, and no frame between it and this call
/// has anything left to do.
pub(crate) unsafe fn resume(context: &VMStoreContext) -> ! {
    let (pc, sp) = (context.handler_pc.get(), context.handler_sp.get());
    // SAFETY: the entry trampoline of the running frames recorded its handler, and `invoke`
    // restores outer ones.
    unsafe { arch::resume(pc, sp, context.handler_fp.get()) }
}
