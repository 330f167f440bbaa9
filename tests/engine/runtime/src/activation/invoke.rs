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
    // Only its address matters: the frame of this call is near it.
    let place = 0_u8;
    let stack_pointer = ptr::from_ref(&place).addr();
    if stack_pointer < store.context().stack_limit.get() {
        return Err(TrapCode::StackOverflow.into());
    }
    // SAFETY: the caller passes slots for the function's type, and `is_wasm` tells of which kind it
    // is.
    let ended = unsafe {
        if !func.is_wasm() {
            call_host(store, func, slots)
        } else if store.inner().calls_have_canaries.get() {
            call_wasm_under_canary(store, func, slots, stack_pointer)
        } else {
            call_wasm(store, func, slots, stack_pointer)
        }
    };
    match ended {
        Ok(()) => Ok(()),
        Err(found) => Err(trap(store, found)),
    }
}

/// The trap that ended a call: the one that the engine found, or that the store has recorded.
#[cold]
#[inline(never)]
fn trap(store: &Store, found: Option<TrapCode>) -> Trap {
    let trap = found.map(Trap::from).or_else(|| store.inner().trap.take());
    trap.unwrap_or_else(|| TrapCode::Host.into())
}

/// Calls a Wasm function, below a canary.
///
/// # Safety
///
/// As for [`invoke`]; `func` is a Wasm function.
// The caller is a frame above the canary.
#[inline(never)]
unsafe fn call_wasm_under_canary(
    store: &Store,
    func: &VMFuncRef,
    slots: *mut u64,
    stack_pointer: usize,
) -> Result<(), Option<TrapCode>> {
    let canary = StackCanary::new();
    // SAFETY: the guard is dropped before the canary, however the call ends.
    let _guard = unsafe { store.context().table.set_stack_canary(black_box(&canary)) };
    // SAFETY: the caller keeps the contract.
    unsafe { call_wasm(store, func, slots, stack_pointer) }
}

/// Calls a Wasm function.
///
/// # Safety
///
/// As for [`invoke`]; `func` is a Wasm function.
#[inline(always)]
unsafe fn call_wasm(
    store: &Store,
    func: &VMFuncRef,
    slots: *mut u64,
    stack_pointer: usize,
) -> Result<(), Option<TrapCode>> {
    let (context, inner) = (store.context(), store.inner());
    let _outer = OuterEntry::save(context);
    if context.stack_limit.get() == 0 {
        let limit = stack_pointer.saturating_sub(inner.limits.stack_bytes);
        context.stack_limit.set(limit.max(1));
    }
    let (engine, stack) = (&inner.engine, inner.stacks.engine());
    // SAFETY: the caller passes a Wasm function of this store and slots for its type, and
    // `call_by_number` takes the arguments that the compiler passes.
    unsafe { engine.call(stack, context, func, slots, call_by_number) }
}

/// Calls a host function directly.
///
/// # Safety
///
/// As for [`invoke`]; `func` is a host function.
unsafe fn call_host(
    store: &Store,
    func: &VMFuncRef,
    slots: *mut u64,
) -> Result<(), Option<TrapCode>> {
    let no_instance = VMContext::without_instance(store.context_ptr());
    let host = func.vmctx.get().cast::<VMHostFunc>();
    // SAFETY: the `vmctx` of a host function is its `VMHostFunc`, and the caller passes slots for
    // its type.
    match unsafe { ((*host).call)(host, &raw const no_instance, slots) } {
        0 => Ok(()),
        _ => Err(None),
    }
}

/// What a nested entry overwrites. Dropping it restores that.
struct OuterEntry<'s> {
    context: &'s VMStoreContext,
    /// 0 if there is no outer entry on this stack.
    stack_limit: usize,
    /// The handler of the outer entry: its `pc`, `sp` and `fp`.
    handler: Option<[usize; 3]>,
}

impl<'s> OuterEntry<'s> {
    #[inline(always)]
    fn save(context: &'s VMStoreContext) -> Self {
        let stack_limit = context.stack_limit.get();
        Self {
            context,
            stack_limit,
            handler: (stack_limit != 0).then(|| {
                [
                    context.handler_pc.get(),
                    context.handler_sp.get(),
                    context.handler_fp.get(),
                ]
            }),
        }
    }
}

impl Drop for OuterEntry<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.context.stack_limit.set(self.stack_limit);
        if let Some([pc, sp, fp]) = self.handler {
            self.context.handler_pc.set(pc);
            self.context.handler_sp.set(sp);
            self.context.handler_fp.set(fp);
        }
    }
}
