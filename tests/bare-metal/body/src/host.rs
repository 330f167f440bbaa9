//! The module `host` that guests import, without `std`.
//!
//! The same functions as the command line's, without files and printing, and two that make requests for memory fail.

use crate::session::Surroundings;
use alloc::rc::Rc;
use core::cell::Cell;
use vmexternref_core::{OutOfMemory, VMExternRef};
use vmexternref_engine_runtime::ValType::{ExternRef, FuncRef, I32, I64};
use vmexternref_engine_runtime::{
    CallError, Caller, Func, FuncType, Linker, Store, Trap, Val, ValType, WeakStore,
};

/// What the functions of the module share.
#[derive(Clone)]
pub(crate) struct Host {
    /// How many host objects are alive.
    pub(crate) alive: Rc<Cell<i64>>,
    /// What the host runs on.
    pub(crate) surroundings: Surroundings,
}

/// What the guest's references refer to.
struct Object {
    value: i64,
    alive: Rc<Cell<i64>>,
    finalizer: Option<(WeakStore, Func)>,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
        let Some((store, function)) = self.finalizer.take() else {
            return;
        };
        // A store that is on its way out runs nothing any more, and a trap in a destructor stops nobody else.
        if let Some(store) = store.upgrade() {
            let _ = function.call(&store, &[Val::I64(self.value)]);
        }
    }
}

type HostFn = fn(&Host, &Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap>;

/// Each function's name, parameters, results and code.
const FUNCTIONS: [(&str, &[ValType], &[ValType], HostFn); 11] = [
    ("new", &[I64], &[ExternRef], new),
    ("value", &[ExternRef], &[I64], value),
    ("same", &[ExternRef, ExternRef], &[I32], same),
    ("gc", &[], &[], gc),
    ("live", &[], &[I64], live),
    ("call", &[FuncRef], &[], call),
    ("try_call", &[FuncRef], &[I32], try_call),
    (
        "call_with",
        &[FuncRef, ExternRef, ExternRef],
        &[ExternRef],
        call_with,
    ),
    (
        "new_finalized",
        &[I64, FuncRef],
        &[ExternRef],
        new_finalized,
    ),
    ("fail_every", &[I32], &[], fail_every),
    ("failures", &[], &[I64], failures),
];

impl Host {
    /// Defines the module in `linker`.
    pub(crate) fn define(&self, store: &Store, linker: &mut Linker) -> Result<(), OutOfMemory> {
        for (name, params, results, function) in FUNCTIONS {
            let ty = FuncType::new(params.iter().copied(), results.iter().copied());
            let host = self.clone();
            let func = Func::host(store, ty, move |caller, args, results| {
                function(&host, caller, args, results)
            })?;
            linker.define("host", name, func);
        }
        Ok(())
    }

    /// A new object, or null if there is no memory.
    fn object(&self, value: i64, finalizer: Option<(WeakStore, Func)>) -> Val {
        let made = VMExternRef::try_new_with(|| {
            self.alive.set(self.alive.get() + 1);
            Object {
                value,
                alive: Rc::clone(&self.alive),
                finalizer,
            }
        });
        Val::ExternRef(made.ok())
    }
}

/// For arguments of other types than the function's, which the runtime does not pass.
fn mistyped() -> Trap {
    Trap::host("arguments of the wrong types")
}

fn new(host: &Host, _: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::I64(value)] = args else {
        return Err(mistyped());
    };
    results[0] = host.object(*value, None);
    Ok(())
}

fn value(_: &Host, _: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(Some(reference))] = args else {
        return Err(Trap::host("host.value: the reference is null"));
    };
    let object = reference.downcast_ref::<Object>();
    let object = object.ok_or_else(|| Trap::host("host.value: not an object of this host"))?;
    results[0] = Val::I64(object.value);
    Ok(())
}

fn same(_: &Host, _: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(one), Val::ExternRef(other)] = args else {
        return Err(mistyped());
    };
    let same = match (one, other) {
        (Some(one), Some(other)) => VMExternRef::eq(one, other),
        (None, None) => true,
        _ => false,
    };
    results[0] = Val::I32(same.into());
    Ok(())
}

fn gc(_: &Host, caller: &Caller<'_>, _: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    caller.store().gc();
    Ok(())
}

fn live(host: &Host, _: &Caller<'_>, _: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    results[0] = Val::I64(host.alive.get());
    Ok(())
}

/// Calls a function of the guest.
fn call_guest(
    caller: &Caller<'_>,
    function: Option<Func>,
    args: &[Val],
    results: &mut [Val],
) -> Result<(), Trap> {
    let function = function.ok_or_else(|| Trap::host("the function is null"))?;
    let called = function.call_into(caller.store(), args, results);
    called.map_err(|error| match error {
        CallError::Trap(trap) => trap,
        other => Trap::host(alloc::format!("{other}")),
    })
}

fn call(_: &Host, caller: &Caller<'_>, args: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    let [Val::FuncRef(function)] = args else {
        return Err(mistyped());
    };
    call_guest(caller, *function, &[], &mut [])
}

fn try_call(_: &Host, caller: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::FuncRef(function)] = args else {
        return Err(mistyped());
    };
    if let Err(trap) = call_guest(caller, *function, &[], &mut []) {
        results[0] = Val::I32(trap.code.number().cast_signed());
    }
    Ok(())
}

fn call_with(_: &Host, caller: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::FuncRef(function), references @ ..] = args else {
        return Err(mistyped());
    };
    call_guest(caller, *function, references, results)
}

fn new_finalized(
    host: &Host,
    caller: &Caller<'_>,
    args: &[Val],
    results: &mut [Val],
) -> Result<(), Trap> {
    let [Val::I64(value), Val::FuncRef(Some(function))] = args else {
        return Err(mistyped());
    };
    let finalizer = (caller.store().downgrade(), *function);
    results[0] = host.object(*value, Some(finalizer));
    Ok(())
}

fn fail_every(host: &Host, _: &Caller<'_>, args: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    let [Val::I32(period)] = args else {
        return Err(mistyped());
    };
    let period = usize::try_from(*period).map_err(|_| mistyped())?;
    host.surroundings.heap.fail_every(period);
    Ok(())
}

fn failures(host: &Host, _: &Caller<'_>, _: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let failures = i64::try_from(host.surroundings.heap.failures());
    results[0] = Val::I64(failures.unwrap_or(i64::MAX));
    Ok(())
}
