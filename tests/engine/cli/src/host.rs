//! The module `host` that guests may import.
//!
//! | function | type | |
//! | --- | --- | --- |
//! | `new` | `[i64] -> [externref]` | a host object that holds the number |
//! | `value` | `[externref] -> [i64]` | the number; a trap for null and for files |
//! | `same` | `[externref externref] -> [i32]` | whether both are the same object, or both null |
//! | `gc` | `[] -> []` | collects |
//! | `live` | `[] -> [i64]` | how many host objects are alive |
//! | `print_i64` | `[i64] -> []` | prints a number |
//! | `print_ref` | `[externref] -> []` | prints what it refers to |
//! | `open` | `[i32 i32] -> [externref]` | opens a file by its name (address, bytes); null on failure |
//! | `write` | `[externref i32 i32] -> [i32]` | appends bytes of memory; how many, or −1 |
//! | `call` | `[funcref] -> []` | calls a function of type `[] -> []` |
//! | `try_call` | `[funcref] -> [i32]` | the same; the number of its trap, or 0 |
//! | `call_with` | `[funcref externref externref] -> [externref]` | calls a function with both references |
//! | `new_finalized` | `[i64 funcref] -> [externref]` | an object whose destructor calls a function with the number |
//!
//! A file is closed when the last reference to it goes.

use crate::arguments::ShownRef;
use crate::console::Console;
use crate::guest_stack::catch;
use crate::host_files::Directory;
use crate::host_object::{Census, Finalized, HostKind, HostObject, OpenFile};
use std::rc::Rc;
use vmexternref_core::{OutOfMemory, VMExternRef};
use vmexternref_engine_runtime::ValType::{ExternRef, FuncRef, I32, I64};
use vmexternref_engine_runtime::{
    AccessError, CallError, Caller, Func, FuncType, Linker, Store, Trap, Val, ValType,
};

/// What the functions of the module share.
#[derive(Clone, Debug)]
pub struct Host {
    /// Counts the host objects.
    pub census: Census,
    /// Where guests print.
    pub console: Console,
    /// Where guests' files are.
    pub directory: Rc<Directory>,
}

type HostFn = fn(&Host, &Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap>;

/// Each function's name, parameters, results and code.
const FUNCTIONS: [(&str, &[ValType], &[ValType], HostFn); 13] = [
    ("new", &[I64], &[ExternRef], new),
    ("value", &[ExternRef], &[I64], value),
    ("same", &[ExternRef, ExternRef], &[I32], same),
    ("gc", &[], &[], gc),
    ("live", &[], &[I64], live),
    ("print_i64", &[I64], &[], print_i64),
    ("print_ref", &[ExternRef], &[], print_ref),
    ("open", &[I32, I32], &[ExternRef], open),
    ("write", &[ExternRef, I32, I32], &[I32], write),
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
];

impl Host {
    /// Defines the module in `linker`.
    pub fn define(&self, store: &Store, linker: &mut Linker) -> Result<(), OutOfMemory> {
        for (name, params, results, function) in FUNCTIONS {
            let ty = FuncType::new(params.iter().copied(), results.iter().copied());
            let host = self.clone();
            let func = guarded(store, ty, move |caller, args, results| {
                function(&host, caller, args, results)
            })?;
            linker.define("host", name, func);
        }
        Ok(())
    }
}

/// A host function that traps when its closure panics.
pub fn guarded(
    store: &Store,
    ty: FuncType,
    closure: impl Fn(&Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap> + 'static,
) -> Result<Func, OutOfMemory> {
    Func::host(store, ty, move |caller, args, results| {
        catch(|| closure(caller, args, results))
            .unwrap_or_else(|words| Err(Trap::host(format!("a host function panicked: {words}"))))
    })
}

/// For arguments of other types than the function's, which the runtime does not pass.
fn mistyped() -> Trap {
    Trap::host("arguments of the wrong types")
}

fn new(host: &Host, _: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::I64(number)] = args else {
        return Err(mistyped());
    };
    results[0] = object(host, HostKind::Value(*number));
    Ok(())
}

fn object(host: &Host, kind: HostKind) -> Val {
    Val::ExternRef(Some(VMExternRef::new(host.census.object(kind))))
}

/// The host object behind a reference that is not null.
fn kind_of<'a>(function: &str, reference: Option<&'a VMExternRef>) -> Result<&'a HostKind, Trap> {
    let reference =
        reference.ok_or_else(|| Trap::host(format!("host.{function}: the reference is null")))?;
    reference
        .downcast_ref::<HostObject>()
        .map(HostObject::kind)
        .ok_or_else(|| Trap::host(format!("host.{function}: not an object of this host")))
}

fn value(_: &Host, _: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(reference)] = args else {
        return Err(mistyped());
    };
    let number = match kind_of("value", reference.as_ref())? {
        HostKind::Value(number) => *number,
        HostKind::Finalized(object) => object.value(),
        file @ HostKind::File(_) => {
            return Err(Trap::host(format!("host.value: {file} has no value")));
        }
    };
    results[0] = Val::I64(number);
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
    results[0] = Val::I32(i32::from(same));
    Ok(())
}

fn gc(_: &Host, caller: &Caller<'_>, _: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    caller.store().gc();
    Ok(())
}

fn live(host: &Host, _: &Caller<'_>, _: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    results[0] = Val::I64(host.census.alive().cast_signed());
    Ok(())
}

fn print_i64(host: &Host, _: &Caller<'_>, args: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    let [Val::I64(number)] = args else {
        return Err(mistyped());
    };
    host.console.line(number);
    Ok(())
}

fn print_ref(host: &Host, _: &Caller<'_>, args: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(reference)] = args else {
        return Err(mistyped());
    };
    host.console.line(ShownRef(reference.as_ref()));
    Ok(())
}

/// The bytes of the caller's memory at `address`.
fn bytes(caller: &Caller<'_>, address: i32, len: i32) -> Result<Vec<u8>, Trap> {
    let memory = caller
        .memory(0)
        .ok_or_else(|| Trap::host("the calling module has no memory"))?;
    let size = memory.data(caller.store()).map_err(refused)?.len();
    let (address, len) = (address.cast_unsigned(), len.cast_unsigned());
    if u64::from(address) + u64::from(len) > size as u64 {
        return Err(refused(AccessError::MemoryOutOfBounds));
    }
    let mut bytes = vec![0; len as usize];
    memory
        .read(caller.store(), address, &mut bytes)
        .map_err(refused)?;
    Ok(bytes)
}

fn refused(error: AccessError) -> Trap {
    Trap::host(error.to_string())
}

fn open(host: &Host, caller: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::I32(address), Val::I32(len)] = args else {
        return Err(mistyped());
    };
    let name = bytes(caller, *address, *len)?;
    let Ok(name) = String::from_utf8(name) else {
        return Ok(());
    };
    let shown = name.escape_debug().to_string();
    match host.directory.open(&name) {
        Ok(file) => {
            let file = OpenFile::new(shown, file, host.console.clone());
            results[0] = object(host, HostKind::File(file));
        }
        Err(error) => host
            .console
            .line(format_args!("cannot open {shown}: {error}")),
    }
    Ok(())
}

fn write(_: &Host, caller: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(reference), Val::I32(address), Val::I32(len)] = args else {
        return Err(mistyped());
    };
    results[0] = Val::I32(-1);
    let Some(reference) = reference else {
        return Ok(());
    };
    match kind_of("write", Some(reference))? {
        HostKind::File(file) => {
            let written = file.write(&bytes(caller, *address, *len)?);
            if let Some(written) = written.and_then(|written| i32::try_from(written).ok()) {
                results[0] = Val::I32(written);
            }
            Ok(())
        }
        other => Err(Trap::host(format!("host.write: {other} is not a file"))),
    }
}

/// Calls a function of the guest.
fn call_guest(caller: &Caller<'_>, function: Option<Func>, args: &[Val]) -> Result<Vec<Val>, Trap> {
    let function = function.ok_or_else(|| Trap::host("the function is null"))?;
    function
        .call(caller.store(), args)
        .map_err(|error| match error {
            CallError::Trap(trap) => trap,
            other => Trap::host(other.to_string()),
        })
}

fn call(_: &Host, caller: &Caller<'_>, args: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    let [Val::FuncRef(function)] = args else {
        return Err(mistyped());
    };
    call_guest(caller, *function, &[]).map(drop)
}

fn try_call(_: &Host, caller: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::FuncRef(function)] = args else {
        return Err(mistyped());
    };
    if let Err(trap) = call_guest(caller, *function, &[]) {
        results[0] = Val::I32(trap.code.number().cast_signed());
    }
    Ok(())
}

fn call_with(_: &Host, caller: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::FuncRef(function), references @ ..] = args else {
        return Err(mistyped());
    };
    let returned = call_guest(caller, *function, references)?;
    results[0] = returned.into_iter().next().unwrap_or(Val::ExternRef(None));
    Ok(())
}

fn new_finalized(
    host: &Host,
    caller: &Caller<'_>,
    args: &[Val],
    results: &mut [Val],
) -> Result<(), Trap> {
    let [Val::I64(number), Val::FuncRef(Some(function))] = args else {
        return Err(Trap::host("host.new_finalized: the function is null"));
    };
    let (store, console, function) = (caller.store().downgrade(), host.console.clone(), *function);
    let finalizer = move |number| {
        // A store that is on its way out runs nothing any more.
        let Some(store) = store.upgrade() else {
            return;
        };
        let outcome = catch(|| function.call(&store, &[Val::I64(number)]));
        match outcome {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => console.line(format_args!("a destructor failed: {error}")),
            Err(words) => console.line(format_args!("a destructor panicked: {words}")),
        }
    };
    results[0] = object(
        host,
        HostKind::Finalized(Finalized::new(*number, finalizer)),
    );
    Ok(())
}
