//! Host functions as compiled code calls them.

use core::any::Any;
use core::cell::Cell;
use core::mem;
use core::ptr;

use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{
    FuncType, RawHostFn, TrapCode, VMContext, VMFuncRef, VMHostFunc, ValType,
};

use crate::caller::Caller;
use crate::owned::Owned;
use crate::store::Store;
use crate::trap::Trap;
use crate::val::Val;

/// A host function as the store owns it; compiled code knows the address of its first field.
#[repr(C)]
pub(crate) struct HostFunc {
    vm: VMHostFunc,
    func_ref: VMFuncRef,
    /// Keeps `vm.context` alive.
    _context: Owned<dyn Any>,
}

impl HostFunc {
    /// A function that finds `context` behind its first argument.
    pub(crate) fn try_new<T: 'static>(
        store: &Store,
        ty: &FuncType,
        call: RawHostFn,
        context: T,
    ) -> Result<Owned<Self>, OutOfMemory> {
        let type_id = store.inner().types.intern(ty)?;
        let exit_trampoline = store.inner().types.entry(type_id).exit_trampoline.get();
        let context = Owned::try_new(context).map_err(|_| OutOfMemory(()))?;
        let context = context.erase();
        let func = Owned::try_new(Self {
            vm: VMHostFunc {
                call,
                context: context.as_ptr().as_ptr().cast(),
            },
            func_ref: VMFuncRef {
                wasm_call: Cell::new(exit_trampoline),
                vmctx: Cell::new(ptr::null()),
                type_id,
                entry: ptr::null(),
            },
            _context: context,
        })
        .map_err(|_| OutOfMemory(()))?;
        let vmctx = func.as_ptr().as_ptr().cast_const().cast();
        func.func_ref.vmctx.set(vmctx);
        Ok(func)
    }

    /// The function as a reference.
    pub(crate) const fn func_ref(&self) -> &VMFuncRef {
        &self.func_ref
    }
}

/// What a closure of the host is called with, and what it answers.
pub(crate) type HostClosure = dyn Fn(&Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap>;

/// The context of a function that is a closure.
pub(crate) struct Closure<F> {
    /// Its type.
    pub(crate) ty: FuncType,
    /// The closure.
    pub(crate) f: F,
}

/// Calls a closure of type `F`.
///
/// # Safety
///
/// As [`RawHostFn`] says, for a function whose context is a `Closure<F>`.
pub(crate) unsafe extern "C" fn call_closure<F>(
    host: *const VMHostFunc,
    caller: *const VMContext,
    values: *mut u64,
) -> u32
where
    F: Fn(&Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap> + 'static,
{
    // SAFETY: the exit trampoline of this function's type passes its own `vmctx`, whose store is running.
    let closure = unsafe { VMHostFunc::context::<Closure<F>>(host) };
    let run = |caller: &Caller<'_>| {
        // SAFETY: the exit trampoline passes as many slots as the type has.
        unsafe { call_with_values(&closure.ty, &closure.f, caller, values) }
    };
    // SAFETY: the exit trampoline passes the `vmctx` of the function that called it.
    unsafe { Caller::with(caller, |caller| caller.status(run(caller))) }
}

/// Turns slots into values, calls, and turns results into slots.
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
            // SAFETY: the slot holds an argument of that type, alive because nothing has collected yet.
            *arg = unsafe { Val::from_bits(store.inner(), param, values.add(index).read()) };
        }
        for (result, &ty) in results.iter_mut().zip(&ty.results) {
            *result = Val::default_for(ty);
        }
        store.inner().zeal();
        f(caller, args, results)?;
        // Their destructors may collect: before the results are in the activations table and in no frame yet.
        args.fill(Val::I32(0));
        // SAFETY: there are as many slots as results.
        unsafe { return_values(store, ty, results, values) }
    })?
}

/// Moves results to where the exit trampoline reads them.
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
        if result.ty() != *expected || !result.belongs_to(store.inner()) {
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
    Trap::host(if result.ty() == expected {
        alloc::format!("host function returned a function of another store as result {index}")
    } else {
        alloc::format!(
            "host function returned {} as result {index}, expected {expected}",
            result.ty()
        )
    })
}

/// Lends `count` values, from the stack if they are few.
fn with_vals<R>(count: usize, f: impl FnOnce(&mut [Val]) -> R) -> Result<R, TrapCode> {
    let mut few = [const { Val::I32(0) }; 8];
    if let Some(vals) = few.get_mut(..count) {
        return Ok(f(vals));
    }
    let mut many = alloc::vec::Vec::new();
    many.try_reserve_exact(count)
        .map_err(|_| TrapCode::OutOfMemory)?;
    many.resize(count, Val::I32(0));
    Ok(f(&mut many))
}
