//! Calls of functions by the host.

use crate::activation::invoke::invoke;
use crate::error::{AccessError, CallError};
use crate::heap::try_with_capacity;
use crate::store::{Store, StoreInner};
use crate::value::{Func, Val};
use alloc::vec::Vec;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::FuncType;

impl Func {
    /// Its type.
    ///
    /// # Errors
    ///
    /// When it belongs to another store, or there is no memory.
    pub fn ty(&self, store: &Store) -> Result<FuncType, AccessError> {
        let func = self.0.resolve(store.inner().identity())?;
        Ok(store.inner().type_of(func).try_clone()?)
    }

    /// Calls the function.
    ///
    /// # Errors
    ///
    /// Wrong arguments, a trap, or no memory.
    pub fn call(&self, store: &Store, args: &[Val]) -> Result<Vec<Val>, CallError> {
        let func = self.0.resolve(store.inner().identity())?;
        let count = store.inner().type_of(func).results.len();
        let mut results = try_with_capacity(count)?;
        results.resize(count, Val::I32(0));
        self.call_into(store, args, &mut results)?;
        Ok(results)
    }

    /// Calls the function and stores its results in `results`.
    ///
    /// It allocates nothing for up to 16 parameters and results.
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
        let func = self.0.resolve(store.inner().identity())?;
        let ty = store.inner().type_of(func);
        check_args(store.inner(), ty, args)?;
        if results.len() != ty.results.len() {
            return Err(CallError::ResultCount {
                expected: ty.results.len(),
                found: results.len(),
            });
        }
        // The old values go first: a destructor between two results could collect and free the
        // second.
        results.fill(Val::I32(0));
        with_slots(ty.slots(), |slots| {
            if func.is_wasm() {
                insert_references(store.inner(), args)?;
            }
            for (arg, slot) in args.iter().zip(&mut *slots) {
                *slot = arg.to_bits();
            }
            // SAFETY: the slots hold arguments of the function's type, and the references among
            // them are in the table.
            unsafe { invoke(store, func, slots.as_mut_ptr()) }?;
            for ((result, &ty), &bits) in results.iter_mut().zip(&ty.results).zip(slots.iter()) {
                // SAFETY: the slot holds a result of that type, alive because nothing has collected
                // yet.
                *result = unsafe { Val::from_bits(store.inner().id(), ty, bits) };
            }
            Ok(())
        })?
    }

    /// Calls the function with raw slots: arguments before the call, results after it.
    ///
    /// A reference among the results is alive until something collects.
    ///
    /// # Errors
    ///
    /// A trap, or a function of another store.
    ///
    /// # Safety
    ///
    /// `slots` points to as many slots as [`FuncType::slots`] says, the first of which hold the
    /// zero-extended arguments. References among them are results of [`Store::insert`] after one
    /// [`Store::reserve`] for all of them, and nothing has collected since.
    #[inline]
    pub unsafe fn call_raw(&self, store: &Store, slots: *mut u64) -> Result<(), CallError> {
        let func = self.0.resolve(store.inner().identity())?;
        // SAFETY: the caller passes slots for the function's type.
        Ok(unsafe { invoke(store, func, slots) }?)
    }
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
        if !arg.belongs_to(store.identity()) {
            return Err(CallError::WrongStore);
        }
    }
    Ok(())
}

/// Inserts clones of references into the activations table.
fn insert_references(store: &StoreInner, args: &[Val]) -> Result<(), OutOfMemory> {
    store.reserve(args.iter().filter(|arg| arg.is_object()).count())?;
    for arg in args {
        if let Val::ExternRef(Some(reference)) = arg {
            store.insert(reference.clone())?;
        }
    }
    Ok(())
}

/// Calls `f` with `count` slots, on the stack if they are few.
fn with_slots<R>(count: usize, f: impl FnOnce(&mut [u64]) -> R) -> Result<R, CallError> {
    let mut few = [0; 16];
    if let Some(slots) = few.get_mut(..count) {
        return Ok(f(slots));
    }
    let mut many = try_with_capacity(count)?;
    many.resize(count, 0);
    Ok(f(&mut many))
}

#[cfg(test)]
mod tests {
    use crate::error::CallError;
    use crate::testing::store;
    use crate::value::{Func, Val};
    use alloc::string::ToString;
    use vmexternref_engine_abi::{FuncType, ValType};

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
}
