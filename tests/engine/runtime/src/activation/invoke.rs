//! Calls through entry trampolines.

use crate::error::Trap;
use crate::store::Store;
use core::hint::black_box;
use core::mem;
use core::ptr;
use vmexternref_core::StackCanary;
use vmexternref_engine_abi::{TrapCode, VMContext, VMFuncRef, VMHostFunc, VMStoreContext};

/// An entry trampoline: `(callee vmctx, caller vmctx, code, slots) -> status`.
type EntryTrampoline = unsafe extern "C" fn(
    callee: *const VMContext,
    caller: *const VMContext,
    wasm_call: *const u8,
    slots: *mut u64,
) -> u32;

/// Calls a function. `slots` hold its arguments, and take its results.
///
/// # Safety
///
/// `slots` points to slots for the function's type, which hold arguments of its types. References
/// among them are in the activations table, and nothing has collected since they were inserted.
pub(crate) unsafe fn invoke(store: &Store, func: &VMFuncRef, slots: *mut u64) -> Result<(), Trap> {
    let local = 0;
    let stack_pointer = ptr::from_ref(black_box(&local)).addr();
    let context = store.context();
    if stack_pointer < context.stack_limit.get() {
        return Err(TrapCode::StackOverflow.into());
    }
    let status = if func.is_wasm() {
        let _outer = OuterEntry::save(context);
        if context.stack_limit.get() == 0 {
            let limit = stack_pointer.saturating_sub(store.limits().stack_bytes);
            context.stack_limit.set(limit.max(1));
        }
        let canary = StackCanary::new();
        // SAFETY: the guard is dropped before the canary, however the call ends. The caller of this
        // function is a frame above it.
        let _canary = unsafe { context.table.set_stack_canary(black_box(&canary)) };
        // SAFETY: the call goes through an entry trampoline of this store, and nothing walks after
        // it has returned.
        unsafe { context.record.enter(|| call_wasm(func, slots)) }
    } else {
        // SAFETY: `func` is a host function, and the caller passes slots for its type.
        unsafe { call_host(store, func, slots) }
    };
    if status == 0 {
        return Ok(());
    }
    let trap = store.inner().trap.take();
    Err(trap.unwrap_or_else(|| TrapCode::Host.into()))
}

/// Calls a Wasm function through the entry trampoline of its type.
///
/// # Safety
///
/// As for [`invoke`], in an activation of its own.
unsafe fn call_wasm(func: &VMFuncRef, slots: *mut u64) -> u32 {
    // SAFETY: the entry trampoline of a function is one that the compiler made for its type.
    let enter: EntryTrampoline = unsafe { mem::transmute(func.entry) };
    let vmctx = func.vmctx.get().cast();
    // SAFETY: the caller passes slots for the function's type, which is the trampoline's type.
    unsafe { enter(vmctx, vmctx, func.wasm_call.get(), slots) }
}

/// Calls a host function directly.
///
/// # Safety
///
/// As for [`invoke`]; `func` is a host function.
unsafe fn call_host(store: &Store, func: &VMFuncRef, slots: *mut u64) -> u32 {
    let no_instance = VMContext::without_instance(store.context_ptr());
    let host = func.vmctx.get().cast::<VMHostFunc>();
    // SAFETY: the `vmctx` of a host function is its `VMHostFunc`, and the caller passes slots for
    // its type.
    unsafe { ((*host).call)(host, &raw const no_instance, slots) }
}

/// The fields that a nested entry overwrites. Dropping it restores them.
struct OuterEntry<'s> {
    context: &'s VMStoreContext,
    stack_limit: usize,
    handler: [usize; 3],
}

impl<'s> OuterEntry<'s> {
    fn save(context: &'s VMStoreContext) -> Self {
        Self {
            context,
            stack_limit: context.stack_limit.get(),
            handler: [
                context.handler_pc.get(),
                context.handler_sp.get(),
                context.handler_fp.get(),
            ],
        }
    }
}

impl Drop for OuterEntry<'_> {
    fn drop(&mut self) {
        let [pc, sp, fp] = self.handler;
        self.context.stack_limit.set(self.stack_limit);
        self.context.handler_pc.set(pc);
        self.context.handler_sp.set(sp);
        self.context.handler_fp.set(fp);
    }
}
