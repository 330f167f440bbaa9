//! The host functions of our engine, in their raw form.
//!
//! They are not those of the crate `vmexternref-engine-host`: their objects are plain numbers, as
//! in Wasmtime, and they convert no values.

use super::Watched;
use super::ours::{Context, Scene, Shared, borrowed_from, no_memory};
use crate::engine::Failure;
use std::rc::Rc;
use vmexternref_core::{OutOfMemory, VMExternRef};
use vmexternref_engine_runtime::{
    Caller, Func, FuncType, Linker, RawHostFn, Store, Trap, VMContext, VMHostFunc, ValType,
};

/// The module, name, parameters, results and code of a function.
type Import = (
    &'static str,
    &'static str,
    &'static [ValType],
    &'static [ValType],
    RawHostFn,
);

/// Defines everything that guests import.
pub(super) fn linker(store: &Store, context: &Shared) -> Result<Linker, Failure> {
    use ValType::{ExternRef, I32, I64};
    let functions: &[Import] = &[
        ("host", "new", &[I64], &[ExternRef], host_new),
        ("host", "value", &[ExternRef], &[I64], host_value),
        ("host", "gc", &[], &[], host_gc),
        ("bench", "next", &[], &[I32], next),
        ("bench", "new_watched", &[], &[ExternRef], new_watched),
        ("bench", "alive", &[], &[I32], alive),
        ("bench", "new_handle", &[I64], &[I32], new_handle),
        ("bench", "handle_value", &[I32], &[I64], handle_value),
        ("bench", "drop_handle", &[I32], &[], drop_handle),
        ("bench", "walk", &[], &[], walk),
    ];
    let mut linker = Linker::new();
    for &(module, name, params, results, call) in functions {
        let ty = FuncType::new(params.iter().copied(), results.iter().copied());
        // SAFETY: each function matches its type and this context, and none panics on the arguments
        // of our guests.
        let func = unsafe { Func::host_raw(store, &ty, call, Rc::clone(context)) };
        let defined = func.and_then(|func| linker.define(module, name, func));
        defined.map_err(no_memory)?;
    }
    Ok(linker)
}

/// The context of a function of this file.
///
/// # Safety
///
/// `host` is the first argument of the function.
#[inline]
unsafe fn context<'a>(host: *const VMHostFunc) -> &'a Context {
    // SAFETY: `linker` made every function here with a `Shared`, and the store outlives the call.
    unsafe { VMHostFunc::context::<Shared>(host) }
}

/// Records a trap.
///
/// # Safety
///
/// `caller` is the second argument of the function.
#[cold]
unsafe fn fail(caller: *const VMContext, message: &str) -> u32 {
    // SAFETY: the caller guarantees the function's own `caller`.
    unsafe { Caller::with(caller, |caller| caller.fail(Trap::host(message))) }
}

/// Returns a new reference to `object` in the first slot.
///
/// # Safety
///
/// `caller` and `values` are arguments of a raw host function that returns a reference.
#[inline]
unsafe fn return_new(caller: *const VMContext, values: *mut u64, object: VMExternRef) -> u32 {
    // SAFETY: the caller guarantees the function's own `caller`.
    let inserted = unsafe { Caller::with(caller, |caller| caller.store().insert(object)) };
    match inserted {
        Ok(word) => {
            // SAFETY: the function has one result, and so a slot.
            unsafe { values.write(word) };
            0
        }
        // SAFETY: the caller guarantees the function's own `caller`.
        Err(OutOfMemory(())) => unsafe { fail(caller, "out of memory") },
    }
}

/// The low half of a slot, as the 32-bit number that it holds.
///
/// # Safety
///
/// `values` points to at least one slot.
#[inline]
unsafe fn i32_in(values: *const u64) -> i32 {
    // SAFETY: the caller guarantees at least one slot.
    let slot = unsafe { values.read() };
    #[expect(clippy::cast_possible_truncation, reason = "slots are zero-extended")]
    {
        (slot as u32).cast_signed()
    }
}

/// `host.new`: returns a new reference to a number.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn host_new(
    _: *const VMHostFunc,
    caller: *const VMContext,
    values: *mut u64,
) -> u32 {
    // SAFETY: the function has one parameter and one result, a reference.
    unsafe { return_new(caller, values, VMExternRef::new(values.read())) }
}

/// `bench.new_watched`: returns a new reference to a watched object.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn new_watched(
    _: *const VMHostFunc,
    caller: *const VMContext,
    values: *mut u64,
) -> u32 {
    // SAFETY: the function has one result, a reference.
    unsafe { return_new(caller, values, VMExternRef::new(Watched::new())) }
}

/// `host.value`: returns the number behind a reference.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn host_value(
    _: *const VMHostFunc,
    caller: *const VMContext,
    values: *mut u64,
) -> u32 {
    // SAFETY: the function has one parameter.
    let word = unsafe { values.read() };
    if word == 0 {
        // SAFETY: `caller` is the function's own argument.
        return unsafe { fail(caller, "the reference is null") };
    }
    // SAFETY: the reference is not null, and nothing collects while it is borrowed.
    let reference = unsafe { borrowed_from(word) };
    let Some(value) = reference.downcast_ref::<u64>() else {
        // SAFETY: `caller` is the function's own argument.
        return unsafe { fail(caller, "the object is no number") };
    };
    // SAFETY: the function has one result.
    unsafe { values.write(*value) };
    0
}

/// `host.gc`: collects.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn host_gc(_: *const VMHostFunc, caller: *const VMContext, _: *mut u64) -> u32 {
    // SAFETY: `caller` is the function's own argument.
    unsafe { Caller::with(caller, |caller| caller.store().gc()) };
    0
}

/// `bench.next`: returns how often to run the body of a timed loop.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn next(host: *const VMHostFunc, _: *const VMContext, values: *mut u64) -> u32 {
    // SAFETY: this is the function's own first argument.
    let iterations = unsafe { context(host) }.host.borrow_mut().stopwatch.next();
    // SAFETY: the function has one result.
    unsafe { values.write(u64::from(iterations.cast_unsigned())) };
    0
}

/// `bench.alive`: returns the number of watched objects that are alive.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn alive(_: *const VMHostFunc, _: *const VMContext, values: *mut u64) -> u32 {
    // SAFETY: the function has one result.
    unsafe { values.write(u64::from(Watched::alive().cast_unsigned())) };
    0
}

/// `bench.new_handle`: stores a new object in the slab, and returns its handle.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn new_handle(
    host: *const VMHostFunc,
    _: *const VMContext,
    values: *mut u64,
) -> u32 {
    // SAFETY: this is the function's own first argument, and there is one parameter.
    let (context, value) = unsafe { (context(host), values.read()) };
    let handle = context.host.borrow_mut().new_handle(value);
    // SAFETY: the function has one result.
    unsafe { values.write(u64::from(handle.cast_unsigned())) };
    0
}

/// `bench.handle_value`: returns the number behind a handle.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn handle_value(
    host: *const VMHostFunc,
    caller: *const VMContext,
    values: *mut u64,
) -> u32 {
    // SAFETY: this is the function's own first argument, and there is one parameter.
    let (context, handle) = unsafe { (context(host), i32_in(values)) };
    let Some(value) = context.host.borrow().handle_value(handle) else {
        // SAFETY: `caller` is the function's own argument.
        return unsafe { fail(caller, "no such handle") };
    };
    // SAFETY: the function has one result.
    unsafe { values.write(value) };
    0
}

/// `bench.drop_handle`: drops the object behind a handle.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn drop_handle(
    host: *const VMHostFunc,
    _: *const VMContext,
    values: *mut u64,
) -> u32 {
    // SAFETY: this is the function's own first argument, and there is one parameter.
    let (context, handle) = unsafe { (context(host), i32_in(values)) };
    context.host.borrow_mut().drop_handle(handle);
    0
}

/// `bench.walk`: times walks from here.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn walk(host: *const VMHostFunc, caller: *const VMContext, _: *mut u64) -> u32 {
    // SAFETY: this is the function's own first argument.
    let context = unsafe { context(host) };
    let Some(walk) = context.walk.get() else {
        // SAFETY: `caller` is the function's own argument.
        return unsafe { fail(caller, "nothing to walk with") };
    };
    // SAFETY: `caller` is the function's own argument.
    unsafe {
        Caller::with(caller, |caller| {
            let scene = Scene {
                store: caller.store(),
                code: context.code.newest(),
            };
            let mut host = context.host.borrow_mut();
            context.frames.set(walk(&scene, &mut host.stopwatch));
        });
    }
    0
}
