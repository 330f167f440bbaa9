//! Functions as the host holds them.

use alloc::vec::Vec;
use core::fmt;

use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{FuncType, RawHostFn, VMFuncRef};

use crate::call::invoke;
use crate::caller::Caller;
use crate::error::{AccessError, CallError};
use crate::handle::Handle;
use crate::host_func::{Closure, HostFunc, call_closure};
use crate::store::{Store, StoreInner};
use crate::trap::Trap;
use crate::val::Val;

/// A function of a store: a name that is only good together with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Func(pub(crate) Handle<VMFuncRef>);

impl Func {
    /// A closure of the host, as a function of type `ty`.
    ///
    /// The closure gets its arguments with counts of their own, and room for its results, zero or null at first. It
    /// must not panic, see the [crate](crate#panics-in-host-functions), and must not hold a strong handle to the
    /// store, which owns it.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn host<F>(store: &Store, ty: FuncType, f: F) -> Result<Self, OutOfMemory>
    where
        F: Fn(&Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap> + 'static,
    {
        let context = Closure { ty: ty.clone(), f };
        // SAFETY: `call_closure` keeps the contract, for a context of exactly this type.
        unsafe { Self::host_raw(store, &ty, call_closure::<F>, context) }
    }

    /// A host function that gets raw slots, without conversion or allocation.
    ///
    /// It finds `context` with [`VMHostFunc::context`](crate::VMHostFunc::context).
    ///
    /// # Errors
    ///
    /// When there is no memory.
    ///
    /// # Safety
    ///
    /// `call` keeps to [`RawHostFn`] for functions of type `ty`, and does not panic.
    pub unsafe fn host_raw<T: 'static>(
        store: &Store,
        ty: &FuncType,
        call: RawHostFn,
        context: T,
    ) -> Result<Self, OutOfMemory> {
        let func = HostFunc::try_new(store, ty, call, context)?;
        let func_ref = func.func_ref().into();
        store.inner().host_funcs.keep(func)?;
        // SAFETY: the store's arena keeps the item in place.
        Ok(Self(unsafe { Handle::new(store.inner().id(), func_ref) }))
    }

    /// Its type.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: &Store) -> Result<FuncType, AccessError> {
        let func = self.0.resolve(store.inner())?;
        Ok(type_of(store.inner(), func).clone())
    }

    /// Calls it.
    ///
    /// # Errors
    ///
    /// Wrong arguments, a trap, or no memory.
    pub fn call(&self, store: &Store, args: &[Val]) -> Result<Vec<Val>, CallError> {
        let func = self.0.resolve(store.inner())?;
        let count = type_of(store.inner(), func).results.len();
        let mut results = Vec::new();
        results
            .try_reserve_exact(count)
            .map_err(|_| CallError::OutOfMemory)?;
        results.resize(count, Val::I32(0));
        self.call_into(store, args, &mut results)?;
        Ok(results)
    }

    /// Calls it and puts the results where the caller wants them; allocates nothing for up to 16 of them.
    ///
    /// # Errors
    ///
    /// Wrong arguments, a trap, or no memory.
    pub fn call_into(
        &self,
        store: &Store,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), CallError> {
        let func = self.0.resolve(store.inner())?;
        let ty = type_of(store.inner(), func);
        check_args(store.inner(), ty, args)?;
        if results.len() != ty.results.len() {
            return Err(CallError::ResultCount {
                expected: ty.results.len(),
                found: results.len(),
            });
        }
        // What is overwritten below must not run a destructor, which could collect what is not yet cloned.
        results.fill(Val::I32(0));
        with_slots(ty.slots(), |slots| {
            if func.is_wasm() {
                activate(store.inner(), args)?;
            }
            for (arg, slot) in args.iter().zip(&mut *slots) {
                *slot = arg.to_bits();
            }
            // SAFETY: the slots hold arguments of the function's type, and its references are in the table.
            unsafe { invoke(store, func, slots.as_mut_ptr()) }?;
            for ((result, &ty), &bits) in results.iter_mut().zip(&ty.results).zip(slots.iter()) {
                // SAFETY: the slot holds a result of that type, alive because nothing has collected yet.
                *result = unsafe { Val::from_bits(store.inner(), ty, bits) };
            }
            Ok(())
        })?
    }

    /// Calls it with raw slots: arguments before, results after.
    ///
    /// A reference among the results is alive until something collects.
    ///
    /// # Errors
    ///
    /// A trap, or a function of another store.
    ///
    /// # Safety
    ///
    /// `slots` points to as many slots as [`FuncType::slots`] says, zero-extended arguments first. References among
    /// them came out of [`Store::insert`] after one [`Store::reserve`] for all of them, and nothing has collected since.
    #[inline]
    pub unsafe fn call_raw(&self, store: &Store, slots: *mut u64) -> Result<(), CallError> {
        let func = self.0.resolve(store.inner())?;
        // SAFETY: the caller passes what the function's type asks for.
        Ok(unsafe { invoke(store, func, slots) }?)
    }

    /// The word of a reference to the function.
    pub(crate) fn to_word(self) -> usize {
        self.0.as_ptr().as_ptr().expose_provenance()
    }
}

/// The type of a function of `store`.
pub(crate) fn type_of<'s>(store: &'s StoreInner, func: &VMFuncRef) -> &'s FuncType {
    &store.types.entry(func.type_id).ty
}

fn check_args(store: &StoreInner, ty: &FuncType, args: &[Val]) -> Result<(), CallError> {
    if args.len() != ty.params.len() {
        return Err(CallError::ArgumentCount {
            expected: ty.params.len(),
            found: args.len(),
        });
    }
    for (index, (arg, &expected)) in args.iter().zip(&ty.params).enumerate() {
        let found = arg.ty();
        if found != expected {
            return Err(CallError::ArgumentType {
                index,
                expected,
                found,
            });
        }
        if !arg.belongs_to(store) {
            return Err(CallError::WrongStore);
        }
    }
    Ok(())
}

/// Puts clones of references into the activations table.
fn activate(store: &StoreInner, args: &[Val]) -> Result<(), OutOfMemory> {
    store.reserve(args.iter().filter(|arg| arg.is_object()).count())?;
    for arg in args {
        if let Val::ExternRef(Some(reference)) = arg {
            store.insert(reference.clone())?;
        }
    }
    Ok(())
}

/// Lends `count` slots, from the stack if they are few.
fn with_slots<R>(count: usize, f: impl FnOnce(&mut [u64]) -> R) -> Result<R, CallError> {
    let mut few = [0; 16];
    if let Some(slots) = few.get_mut(..count) {
        return Ok(f(slots));
    }
    let mut many = Vec::new();
    many.try_reserve_exact(count)
        .map_err(|_| CallError::OutOfMemory)?;
    many.resize(count, 0);
    Ok(f(&mut many))
}

impl fmt::Debug for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Func({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use vmexternref_engine_abi::{FuncType, VMContext, VMHostFunc, ValType};

    use super::Func;
    use crate::error::CallError;
    use crate::testing::{Alive, object, store};
    use crate::trap::Trap;
    use crate::val::Val;

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

    #[test]
    fn wrong_arguments_are_errors() {
        let (store, other) = (store(), store());
        let ty = FuncType::new([ValType::FuncRef], []);
        let func = Func::host(&store, ty.clone(), |_, _, _| Ok(())).unwrap();
        let foreign = Func::host(&other, ty, |_, _, _| Ok(())).unwrap();
        let message = |args: &[Val]| func.call(&store, args).unwrap_err().to_string();
        assert_eq!(
            message(&[]),
            "wrong number of arguments: expected 1, found 0"
        );
        assert_eq!(
            message(&[Val::I32(1)]),
            "wrong type of argument 0: expected funcref, found i32"
        );
        let refused = func.call(&store, &[Val::FuncRef(Some(foreign))]);
        assert_eq!(refused.unwrap_err(), CallError::WrongStore);
        let refused = foreign.call(&store, &[Val::FuncRef(None)]);
        assert_eq!(refused.unwrap_err(), CallError::WrongStore);
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
