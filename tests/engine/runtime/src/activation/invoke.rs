//! The way into Wasm.

use core::hint::black_box;
use core::mem;
use core::ptr;

use vmexternref_engine_abi::{TrapCode, VMContext, VMFuncRef, VMHostFunc, VMStoreContext};

use crate::error::Trap;
use crate::store::Store;

/// An entry trampoline: `(callee vmctx, caller vmctx, code, slots) -> status`.
type EntryTrampoline = unsafe extern "C" fn(
    callee: *const VMContext,
    caller: *const VMContext,
    wasm_call: *const u8,
    slots: *mut u64,
) -> u32;

/// Calls a function with arguments in `slots`, which take the results.
///
/// # Safety
///
/// The slots are as many as the function's type asks for, and hold arguments of its types; references among them are
/// in the activations table, and nothing has collected since.
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
        context.table.with_stack_canary(|| {
            // SAFETY: the call goes through an entry trampoline of this store, and nothing walks after it has returned.
            unsafe { context.record.enter(|| call_wasm(func, slots)) }
        })
    } else {
        // SAFETY: it is a host function, and the caller passes what it takes.
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
/// As for [`invoke`], inside of an activation of its own.
unsafe fn call_wasm(func: &VMFuncRef, slots: *mut u64) -> u32 {
    // SAFETY: a function that has an entry trampoline got it from the module that defines it.
    let enter: EntryTrampoline = unsafe { mem::transmute(func.entry) };
    let vmctx = func.vmctx.get().cast();
    // SAFETY: the caller passes what the function's type, and so its trampoline, asks for.
    unsafe { enter(vmctx, vmctx, func.wasm_call.get(), slots) }
}

/// Calls a host function for the host.
///
/// # Safety
///
/// As for [`invoke`]; `func` is a host function.
unsafe fn call_host(store: &Store, func: &VMFuncRef, slots: *mut u64) -> u32 {
    let no_instance = VMContext::without_instance(store.context_ptr());
    let host = func.vmctx.get().cast::<VMHostFunc>();
    // SAFETY: the `vmctx` of a host function is its `VMHostFunc`, and the caller passes what it takes.
    unsafe { ((*host).call)(host, &raw const no_instance, slots) }
}

/// What an inner entry overwrites; dropping it puts it back.
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
