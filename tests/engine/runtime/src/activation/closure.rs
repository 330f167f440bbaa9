//! Host functions made of closures.

use crate::activation::caller::Caller;
use crate::error::Trap;
use crate::heap::try_with_capacity;
use crate::item::HostFunc;
use crate::store::Store;
use crate::value::{Func, Handle, Val};
use core::mem;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{FuncType, RawHostFn, TrapCode, VMContext, VMHostFunc, ValType};

impl Func {
    /// A function of type `ty` that calls a closure of the host.
    ///
    /// The closure gets its arguments with counts of their own, and a slice for its results, zero
    /// or null at first. It must not panic (see the [crate](crate#panics-in-host-functions)), and
    /// must not hold a strong handle of the store, which owns it.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn host<F>(store: &Store, ty: FuncType, f: F) -> Result<Self, OutOfMemory>
    where
        F: Fn(&Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap> + 'static,
    {
        let context = Closure {
            ty: ty.try_clone()?,
            f,
        };
        // SAFETY: `call_closure` keeps the contract, for a context of exactly this type.
        unsafe { Self::host_raw(store, &ty, call_closure::<F>, context) }
    }

    /// A function that calls host code with raw slots, without conversion or allocation.
    ///
    /// The code finds `context` with [`VMHostFunc::context`](crate::VMHostFunc::context).
    ///
    /// # Errors
    ///
    /// When there is no memory.
    ///
    /// # Safety
    ///
    /// `call` does what [`RawHostFn`] says, for functions of type `ty`, and does not panic.
    pub unsafe fn host_raw<T: 'static>(
        store: &Store,
        ty: &FuncType,
        call: RawHostFn,
        context: T,
    ) -> Result<Self, OutOfMemory> {
        let inner = store.inner();
        let type_id = inner.types.intern(ty)?;
        let exit_trampoline = inner.types.entry(type_id).exit_trampoline.get();
        let func = HostFunc::try_new(type_id, exit_trampoline, call, context)?;
        let func_ref = func.func_ref().into();
        inner.host_funcs.keep(func)?;
        // SAFETY: the store's arena keeps the item in place.
        Ok(Self(unsafe { Handle::new(inner.id(), func_ref) }))
    }
}

/// A closure of the host; it gets caller, arguments and results.
type HostClosure = dyn Fn(&Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap>;

/// The context of a function that is a closure.
struct Closure<F> {
    /// Its type.
    ty: FuncType,
    /// The closure.
    f: F,
}

/// Calls a closure of type `F`.
///
/// # Safety
///
/// The arguments are those of a [`RawHostFn`], for a function whose context is a `Closure<F>`.
unsafe extern "C" fn call_closure<F>(
    host: *const VMHostFunc,
    caller: *const VMContext,
    values: *mut u64,
) -> u32
where
    F: Fn(&Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap> + 'static,
{
    // SAFETY: the caller passes the `VMHostFunc` of a function with such a context, whose store
    // outlives the call.
    let closure = unsafe { VMHostFunc::context::<Closure<F>>(host) };
    let run = |caller: &Caller<'_>| {
        // SAFETY: the exit trampoline passes as many slots as the type has.
        unsafe { call_with_values(&closure.ty, &closure.f, caller, values) }
    };
    // SAFETY: the exit trampoline passes the `vmctx` of the function that called it.
    unsafe { Caller::with(caller, |caller| caller.status(run(caller))) }
}

/// Turns slots into values, calls the closure, and turns results into slots.
///
/// # Safety
///
/// `values` has [`FuncType::slots`] slots, the first of which are arguments of that type.
unsafe fn call_with_values(
    ty: &FuncType,
    f: &HostClosure,
    caller: &Caller<'_>,
    values: *mut u64,
) -> Result<(), Trap> {
    let store = caller.store();
    with_vals(ty.params.len() + ty.results.len(), |vals| {
        let (args, results) = vals.split_at_mut(ty.params.len());
        for (index, (arg, &param)) in args.iter_mut().zip(&ty.params).enumerate() {
            // SAFETY: the slot holds an argument of that type, alive because nothing has collected
            // yet.
            *arg = unsafe { Val::from_bits(store.inner().id(), param, values.add(index).read()) };
        }
        for (result, &ty) in results.iter_mut().zip(&ty.results) {
            *result = Val::default_for(ty);
        }
        store.inner().zeal();
        f(caller, args, results)?;
        // Their destructors may collect, so they run before the results are inserted.
        args.fill(Val::I32(0));
        // SAFETY: there are as many slots as results.
        unsafe { return_values(store, ty, results, values) }
    })?
}

/// Moves results into the slots that the exit trampoline reads.
///
/// # Safety
///
/// `values` has a slot for each result.
unsafe fn return_values(
    store: &Store,
    ty: &FuncType,
    results: &mut [Val],
    values: *mut u64,
) -> Result<(), Trap> {
    for (index, (result, expected)) in results.iter().zip(&ty.results).enumerate() {
        if result.ty() != *expected || !result.belongs_to(store.inner().identity()) {
            return Err(wrong_result(index, result, *expected));
        }
    }
    let references = results.iter().filter(|result| result.is_object()).count();
    store.inner().reserve(references)?;
    for (index, result) in results.iter_mut().enumerate() {
        let bits = result.to_bits();
        if let Val::ExternRef(Some(reference)) = mem::replace(result, Val::I32(0)) {
            store.inner().insert(reference)?;
        }
        // SAFETY: the caller gave a slot for each result.
        unsafe { values.add(index).write(bits) };
    }
    Ok(())
}

#[cold]
fn wrong_result(index: usize, result: &Val, expected: ValType) -> Trap {
    let found = result.ty();
    if found == expected {
        return Trap::host(format_args!(
            "host function returned a function of another store as result {index}"
        ));
    }
    Trap::host(format_args!(
        "host function returned {found} as result {index}, expected {expected}"
    ))
}

/// Calls `f` with `count` values, on the stack if they are few.
fn with_vals<R>(count: usize, f: impl FnOnce(&mut [Val]) -> R) -> Result<R, TrapCode> {
    let mut few = [const { Val::I32(0) }; 8];
    if let Some(vals) = few.get_mut(..count) {
        return Ok(f(vals));
    }
    let mut many = try_with_capacity(count).map_err(|_| TrapCode::OutOfMemory)?;
    many.resize(count, Val::I32(0));
    Ok(f(&mut many))
}

#[cfg(test)]
mod tests {
    use crate::error::Trap;
    use crate::testing::{Alive, object, store};
    use crate::value::{Func, Val};
    use alloc::rc::Rc;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use core::cell::Cell;
    use vmexternref_engine_abi::{FuncType, VMContext, VMHostFunc, ValType};

    #[test]
    fn host_functions_return_what_they_were_given() {
        let (store, alive) = (store(), Alive::default());
        let types = [ValType::ExternRef, ValType::I64, ValType::FuncRef];
        let ty = FuncType::new(types, types);
        let func = Func::host(&store, ty, |_, args, results| {
            results.clone_from_slice(args);
            Ok(())
        })
        .unwrap();
        let args = [alive.val(), Val::I64(-1), Val::FuncRef(Some(func))];
        let results = func.call(&store, &args).unwrap();
        assert_eq!(
            object(&results[0]).unwrap().as_raw(),
            object(&args[0]).unwrap().as_raw()
        );
        assert!(matches!(results[1], Val::I64(-1)));
        assert!(matches!(results[2], Val::FuncRef(Some(same)) if same == func));
        drop((args, results));
        assert_eq!((alive.count(), store.activation_entries()), (1, 1));
        assert_eq!(store.gc().freed, 1);
        assert_eq!(alive.count(), 0);
    }

    #[test]
    fn many_results_survive_a_table_that_is_full() {
        let (store, alive) = (store(), Alive::default());
        let ty = FuncType::new([], [ValType::ExternRef; 20]);
        let (objects, weak) = (alive.clone(), store.downgrade());
        let func = Func::host(&store, ty, move |_, _, results| {
            for result in results {
                let weak = weak.clone();
                let collect = move || {
                    weak.upgrade().map(|store| store.gc());
                };
                *result = Val::ExternRef(Some(objects.dying_with(collect)));
            }
            Ok(())
        })
        .unwrap();
        for _ in 0..10 {
            let results = func.call(&store, &[]).unwrap();
            assert!(results.iter().all(|result| object(result).is_some()));
        }
        store.gc();
        assert_eq!(alive.count(), 0);
    }

    /// The function gives the argument up, so that it dies when the function returns.
    #[test]
    fn results_are_inserted_when_the_arguments_have_died() {
        let (store, alive) = (store(), Alive::default());
        let ty = FuncType::new([ValType::ExternRef], [ValType::ExternRef]);
        let results = alive.clone();
        let func = Func::host(&store, ty, move |caller, _, result| {
            caller.store().gc();
            result[0] = results.val();
            Ok(())
        })
        .unwrap();
        let (weak, died) = (store.downgrade(), Rc::new(Cell::new(false)));
        let dies = Rc::clone(&died);
        let argument = alive.dying_with(move || {
            weak.upgrade().map(|store| store.gc());
            dies.set(true);
        });
        let mut slots = [store.insert(argument).unwrap()];
        // SAFETY: the slots hold the one argument, which is in the table.
        unsafe { func.call_raw(&store, slots.as_mut_ptr()) }.unwrap();
        assert!(died.get());
        assert_eq!(alive.count(), 1, "the result is in the table");
        store.gc();
        assert_eq!(alive.count(), 0);
    }

    #[test]
    fn errors_and_wrong_results_are_traps() {
        let store = store();
        let ty = FuncType::new([], [ValType::I32]);
        let failing = Func::host(&store, ty.clone(), |_, _, _| Err(Trap::host("no luck")));
        let error = failing.unwrap().call(&store, &[]).unwrap_err();
        assert_eq!(error.to_string(), "no luck");
        let wrong = Func::host(&store, ty, |_, _, results| {
            results[0] = Val::I64(1);
            Ok(())
        });
        let error = wrong.unwrap().call(&store, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "host function returned i64 as result 0, expected i32"
        );
    }

    #[test]
    fn raw_functions_get_slots_and_their_context() {
        /// Adds its context to its argument.
        ///
        /// # Safety
        ///
        /// The context is a `u64`, and there is one slot.
        unsafe extern "C" fn add(
            host: *const VMHostFunc,
            _: *const VMContext,
            values: *mut u64,
        ) -> u32 {
            // SAFETY: the caller guarantees the context's type, and its store outlives the call.
            let context = unsafe { VMHostFunc::context::<u64>(host) };
            // SAFETY: the caller guarantees one slot.
            unsafe { *values += *context };
            0
        }
        let store = store();
        let ty = FuncType::new([ValType::I64], [ValType::I64]);
        // SAFETY: `add` reads and writes one slot.
        let func = unsafe { Func::host_raw(&store, &ty, add, 40_u64) }.unwrap();
        let results: Vec<Val> = func.call(&store, &[Val::I64(2)]).unwrap();
        assert!(matches!(results[..], [Val::I64(42)]));
        let mut slots = [1];
        // SAFETY: the slots hold the one argument.
        unsafe { func.call_raw(&store, slots.as_mut_ptr()) }.unwrap();
        assert_eq!(slots, [41]);
    }

    #[test]
    fn closures_go_with_the_store() {
        let (store, alive) = (store(), Alive::default());
        let held = alive.object();
        Func::host(&store, FuncType::new([], []), move |_, _, _| {
            let _ = &held;
            Ok(())
        })
        .unwrap();
        assert_eq!(alive.count(), 1);
        drop(store);
        assert_eq!(alive.count(), 0);
    }
}
