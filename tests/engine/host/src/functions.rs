//! The functions of the module.

use crate::host::{Host, HostFunction, mistyped};
use crate::object::{Finalized, HostKind, HostObject};
use crate::shown::ShownRef;
use alloc::rc::Rc;
use vmexternref_core::VMExternRef;
use vmexternref_engine_runtime::ValType::{ExternRef, FuncRef, I32, I64};
use vmexternref_engine_runtime::{CallError, Caller, Func, Trap, TrapCode, Val};

/// Every function that all hosts have.
pub(crate) const FUNCTIONS: [HostFunction<Host>; 11] = [
    ("new", &[I64], &[ExternRef], new),
    ("value", &[ExternRef], &[I64], value),
    ("same", &[ExternRef, ExternRef], &[I32], same),
    ("gc", &[], &[], gc),
    ("live", &[], &[I64], live),
    ("print_i64", &[I64], &[], print_i64),
    ("print_ref", &[ExternRef], &[], print_ref),
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

fn new(host: &Host, _: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::I64(number)] = args else {
        return Err(mistyped());
    };
    results[0] = host.object(|| HostKind::Value(*number));
    Ok(())
}

fn value(_: &Host, _: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(reference)] = args else {
        return Err(mistyped());
    };
    let kind = HostObject::behind("value", reference.as_ref())?;
    let number = kind
        .number()
        .ok_or_else(|| Trap::host(format_args!("host.value: {kind} has no value")))?;
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
    results[0] = Val::I64(host.census().alive().cast_signed());
    Ok(())
}

fn print_i64(host: &Host, _: &Caller<'_>, args: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    let [Val::I64(number)] = args else {
        return Err(mistyped());
    };
    host.platform().print(format_args!("{number}"));
    Ok(())
}

fn print_ref(host: &Host, _: &Caller<'_>, args: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(reference)] = args else {
        return Err(mistyped());
    };
    let shown = ShownRef(reference.as_ref());
    host.platform().print(format_args!("{shown}"));
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
        CallError::OutOfMemory => TrapCode::OutOfMemory.into(),
        other => Trap::host(other),
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
    let [Val::I64(number), Val::FuncRef(Some(function))] = args else {
        return Err(Trap::host("host.new_finalized: the function is null"));
    };
    results[0] = host.object(|| {
        HostKind::Finalized(Finalized {
            number: *number,
            store: caller.store().downgrade(),
            function: *function,
            platform: Rc::clone(host.platform()),
        })
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{I32, I64};
    use crate::object::Census;
    use crate::testing::{Recorder, call, numbers, store};
    use crate::{Host, Shown};
    use alloc::rc::Rc;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use core::slice;
    use vmexternref_engine_runtime::{FuncType, Linker, Trap, TrapCode, Val};

    #[test]
    fn objects_are_told_apart_and_printed() {
        let (store, recorder) = (store(), Rc::new(Recorder::default()));
        let host = Host::new(Rc::clone(&recorder) as _, Census::default());
        let mut linker = Linker::new();
        host.define(&store, &mut linker).unwrap();
        let call = |name, args: &[Val]| call(&store, &linker, name, args).unwrap();
        let [one, other] = [1, 1].map(|number| call("new", &[Val::I64(number)]).remove(0));
        let null = Val::ExternRef(None);
        for (pair, same) in [
            ([&one, &one], 1),
            ([&one, &other], 0),
            ([&one, &null], 0),
            ([&null, &null], 1),
        ] {
            let results = call("same", &pair.map(Val::clone));
            assert_eq!(numbers(&results), [same], "{pair:?}");
        }
        assert_eq!(numbers(&call("value", slice::from_ref(&one))), [1]);
        assert_eq!(numbers(&call("live", &[])), [2]);
        call("print_ref", &[one]);
        call("print_ref", &[null]);
        call("print_i64", &[Val::I64(-7)]);
        assert_eq!(recorder.lines(), ["externref(value 1)", "null", "-7"]);
        drop(other);
        call("gc", &[]);
        assert_eq!(numbers(&call("live", &[])), [0]);
    }

    #[test]
    fn calls_pass_references_and_traps_on() {
        let store = store();
        let host = Host::new(Rc::new(Recorder::default()), Census::default());
        let mut linker = Linker::new();
        host.define(&store, &mut linker).unwrap();
        let call = |name, args: &[Val]| call(&store, &linker, name, args);
        let trap = host.func(&store, FuncType::new([], []), |_, _, _| {
            Err(Trap::from(TrapCode::Unreachable))
        });
        let trap = Val::FuncRef(Some(trap.unwrap()));
        let number = i64::from(TrapCode::Unreachable.number());
        let tried = call("try_call", slice::from_ref(&trap)).unwrap();
        assert_eq!(numbers(&tried), [number]);
        let error = call("call", &[trap]).unwrap_err();
        assert_eq!(error.to_string(), TrapCode::Unreachable.to_string());

        let references = [super::ExternRef; 2];
        let second = FuncType::new(references, [super::ExternRef]);
        let second = host.func(&store, second, |_, args, results| {
            results[0] = args[1].clone();
            Ok(())
        });
        let mut args = Vec::from([Val::FuncRef(Some(second.unwrap()))]);
        args.extend([1, 2].map(|number| call("new", &[Val::I64(number)]).unwrap().remove(0)));
        let returned = call("call_with", &args).unwrap();
        assert_eq!(Shown(&returned[0]).to_string(), "externref(value 2)");

        let wrong = host.func(&store, FuncType::new([I32], [I64]), |_, _, _| Ok(()));
        let error = call("call", &[Val::FuncRef(Some(wrong.unwrap()))]).unwrap_err();
        let words = "wrong number of arguments: expected 1, found 0";
        assert_eq!(error.to_string(), words);
    }
}
