//! Defines the module, and more functions in it.

use crate::cycles::{CycleEvent, Cycles};
use crate::object::{Census, HostKind};
use crate::platform::Platform;
use crate::references::References;
use crate::{cells, functions};
use alloc::boxed::Box;
use alloc::rc::Rc;
use vmexternref_core::{CycleReport, OutOfMemory, VMExternRef};
use vmexternref_engine_runtime::{Caller, Func, FuncType, Linker, Store, Trap, Val, ValType};

/// The state that the functions of the module share.
///
/// Its last clone collects the cycles that are left. So the host keeps one until its stores are
/// gone, for until then Wasm tables and globals hold objects.
#[derive(Clone, Debug)]
pub struct Host {
    census: Census,
    cycles: Rc<Cycles>,
    platform: Rc<dyn Platform>,
}

/// A function of the module: its name, parameters, results and code, which finds a `T`.
pub type HostFunction<T> = (
    &'static str,
    &'static [ValType],
    &'static [ValType],
    fn(&T, &Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap>,
);

impl Host {
    /// A host on `platform` whose objects `census` counts.
    #[must_use]
    pub fn new(platform: Rc<dyn Platform>, census: Census) -> Self {
        Self {
            census,
            cycles: Rc::default(),
            platform,
        }
    }

    /// Counts the host objects.
    #[must_use]
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// The machine that the functions run on.
    #[must_use]
    pub fn platform(&self) -> &Rc<dyn Platform> {
        &self.platform
    }

    /// Defines the module in `linker`.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn define(&self, store: &Store, linker: &mut Linker) -> Result<(), OutOfMemory> {
        self.define_more(&functions::FUNCTIONS, self, store, linker)?;
        self.define_more(&cells::FUNCTIONS, self, store, linker)
    }

    /// Defines more functions in the module, which all find a clone of `state`.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn define_more<T: Clone + 'static>(
        &self,
        functions: &[HostFunction<T>],
        state: &T,
        store: &Store,
        linker: &mut Linker,
    ) -> Result<(), OutOfMemory> {
        for &(name, params, results, code) in functions {
            let ty = FuncType::try_new(params, results)?;
            let state = state.clone();
            let func = self.func(store, ty, move |caller, args, results| {
                code(&state, caller, args, results)
            })?;
            linker.define("host", name, func)?;
        }
        Ok(())
    }

    /// A host function that traps when its closure panics, if the platform catches panics.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn func(
        &self,
        store: &Store,
        ty: FuncType,
        closure: impl Fn(&Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap> + 'static,
    ) -> Result<Func, OutOfMemory> {
        let platform = Rc::clone(&self.platform);
        Func::host(store, ty, move |caller, args, results| {
            let mut outcome = Ok(());
            platform
                .catch(&mut || outcome = closure(caller, args, results))
                .map_err(|message| {
                    Trap::host(format_args!("a host function panicked: {message}"))
                })?;
            outcome
        })
    }

    /// A reference to a new object, or null without memory.
    ///
    /// Without memory `kind` is not called.
    #[must_use]
    pub fn object(&self, kind: impl FnOnce() -> HostKind) -> Val {
        let object = || self.census.object(kind());
        Val::ExternRef(VMExternRef::try_new_with(object).ok())
    }

    /// A reference to a new cell, or null without memory.
    #[must_use]
    pub fn cell(&self) -> Val {
        let cell = self.census.object(HostKind::Cell(References::default()));
        Val::ExternRef(self.cycles.collector().try_new_traced(cell).ok())
    }

    /// Frees the cells that only cells keep alive.
    ///
    /// The entries of a store's activations table hold cells, as Wasm tables and globals do, also
    /// when the frames for which they were made are gone. So collect the store before.
    pub fn collect_cycles(&self) -> CycleReport {
        self.cycles.collect()
    }

    /// Whether so many cells were made since the last cycle collection that another pays.
    #[must_use]
    pub fn is_cycle_collection_due(&self) -> bool {
        self.cycles.collector().is_due()
    }

    /// Tells `observer` of every cycle collection from now on.
    ///
    /// It does not hear of the one that the last clone does.
    pub fn set_cycle_observer(&self, observer: Box<dyn Fn(CycleEvent<'_>)>) {
        self.cycles.set_observer(observer);
    }
}

/// The trap for arguments of other types than the function's, which the runtime does not pass.
#[must_use]
pub fn mistyped() -> Trap {
    Trap::host("arguments of the wrong types")
}

#[cfg(test)]
mod tests {
    use super::Host;
    use crate::object::Census;
    use crate::testing::{Recorder, store};
    use alloc::rc::Rc;
    use alloc::string::ToString;
    use vmexternref_engine_runtime::FuncType;

    #[test]
    fn a_panic_is_a_trap() {
        let store = store();
        let host = Host::new(Rc::new(Recorder::default()), Census::default());
        let func = host.func(&store, FuncType::new([], []), |_, _, _| panic!("no luck"));
        let error = func.unwrap().call(&store, &[]).unwrap_err();
        assert_eq!(error.to_string(), "a host function panicked: no luck");
    }
}
