//! Calls through entry trampolines.

use crate::activation::host_calls::call_by_number;
use crate::error::Trap;
use crate::store::Store;
use core::hint::black_box;
use core::ptr;
use vmexternref_core::StackCanary;
use vmexternref_engine_abi::{TrapCode, VMContext, VMFuncRef, VMHostFunc, VMStoreContext};

/// Calls a function. `slots` hold its arguments, and take its results.
///
/// # Safety
///
/// `slots` points to slots for the function's type, which hold arguments of its types. References
/// among them are in the activations table, and nothing has collected since they were inserted.
pub(crate) unsafe fn invoke(store: &Store, func: &VMFuncRef, slots: *mut u64) -> Result<(), Trap> {
    let canary = StackCanary::new();
    let canary = black_box(&canary);
    let stack_pointer = ptr::from_ref(canary).addr();
    let context = store.context();
    if stack_pointer < context.stack_limit.get() {
        return Err(TrapCode::StackOverflow.into());
    }
    let ended = if func.is_wasm() {
        let _outer = OuterEntry::save(context);
        if context.stack_limit.get() == 0 {
            let limit = stack_pointer.saturating_sub(store.limits().stack_bytes);
            context.stack_limit.set(limit.max(1));
        }
        let inner = store.inner();
        let _canary = inner.calls_have_canaries.get().then(|| {
            // SAFETY: the guard is dropped before the canary, however the call ends. The caller of
            // this function is a frame above it.
            unsafe { context.table.set_stack_canary(canary) }
        });
        let engine = inner.stacks.engine();
        // SAFETY: a Wasm function of this store, for whose type the caller passes slots.
        unsafe { engine.call(context, func, slots, call_by_number) }
    } else {
        // SAFETY: `func` is a host function, and the caller passes slots for its type.
        match unsafe { call_host(store, func, slots) } {
            0 => Ok(()),
            _ => Err(None),
        }
    };
    ended.map_err(|found| {
        let trap = found.map(Trap::from).or_else(|| store.inner().trap.take());
        trap.unwrap_or_else(|| TrapCode::Host.into())
    })
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
