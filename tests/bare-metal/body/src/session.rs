//! A store with everything that guests import, and the totals of its collections.

use crate::engine::Engine;
use crate::fault;
use crate::guests::Guest;
use crate::host::{self, Silent};
use crate::measured_heap::HeapMeter;
use crate::report::{equal, words};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use vmexternref_core::{GcOutcome, GcReport};
use vmexternref_engine_host::{Census, Host};
use vmexternref_engine_runtime::{Extern, Instance, Linker, Module, ObjectFile, Store, Val};

/// The parts of the machine that a session uses.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// The global allocator.
    pub(crate) heap: &'static dyn HeapMeter,
    /// What runs the guests.
    pub(crate) engine: Engine,
}

/// A store, and the host that counts and collects its objects.
pub(crate) struct Session {
    store: Store,
    linker: Linker,
    host: Host,
    totals: Rc<Cell<Totals>>,
}

/// The totals of all collections of a session.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    /// The number of collections, without those that began during another one.
    pub(crate) collections: usize,
    wasm_frames: usize,
    roots: usize,
    freed: usize,
    kept: usize,
    contract_breaks: usize,
}

impl Totals {
    fn add(self, report: &GcReport) -> Self {
        if report.outcome == GcOutcome::AlreadyCollecting {
            return self;
        }
        Self {
            collections: self.collections + 1,
            wasm_frames: self.wasm_frames + report.wasm_frames,
            roots: self.roots + report.roots,
            freed: self.freed + report.freed,
            kept: self.kept + usize::from(report.outcome != GcOutcome::Swept),
            contract_breaks: self.contract_breaks + report.contract_breaks,
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} collections walked {} frames, found {} roots and freed {} objects",
            self.collections, self.wasm_frames, self.roots, self.freed
        )
    }
}

impl Session {
    /// A store without any guest.
    pub(crate) fn new(surroundings: &Surroundings) -> Result<Self, String> {
        let store = surroundings.engine.store().map_err(words)?;
        let totals = Rc::new(Cell::new(Totals::default()));
        let seen = Rc::clone(&totals);
        store.set_gc_observer(Rc::new(move |report| seen.set(seen.get().add(report))));
        fault::lose_roots(&store);
        let host = Host::new(Rc::new(Silent), Census::default());
        let mut linker = Linker::new();
        host::define(&host, surroundings.heap, &store, &mut linker).map_err(words)?;
        Ok(Self {
            store,
            linker,
            host,
            totals,
        })
    }

    /// An instance of `guest`.
    pub(crate) fn instantiate(&self, guest: &Guest) -> Result<Instance, String> {
        let mut file = ObjectFile::read(guest.object).map_err(words)?;
        fault::break_stack_maps(&mut file.module.stack_maps);
        let module = Module::load_object(&self.store, file).map_err(words)?;
        self.linker.instantiate(&self.store, &module).map_err(words)
    }

    /// Calls the `main` of `instance`.
    pub(crate) fn main(&self, instance: &Instance, args: &[Val]) -> Result<Vec<Val>, String> {
        let main = instance.export("main").and_then(Extern::into_func);
        let main = main.ok_or_else(|| String::from("no function `main`"))?;
        main.call(&self.store, args).map_err(words)
    }

    /// Drops the store, and collects the cycles that it leaves.
    ///
    /// # Errors
    ///
    /// When a collection kept everything, found a root outside of the table, or an object is still
    /// alive.
    pub(crate) fn finish(self) -> Result<Totals, String> {
        let Self {
            store,
            linker,
            host,
            totals,
        } = self;
        store.gc();
        drop((store, linker));
        host.collect_cycles();
        let totals = totals.get();
        equal(
            "the number of collections that kept everything",
            totals.kept,
            0,
        )?;
        equal(
            "the number of roots outside of the table",
            totals.contract_breaks,
            0,
        )?;
        let alive = host.census().alive();
        equal("the number of objects left alive", alive, 0)?;
        Ok(totals)
    }
}

/// Runs the `main` of `guest` in a session of its own.
pub(crate) fn run(
    surroundings: &Surroundings,
    guest: &Guest,
    args: &[Val],
) -> Result<(Vec<Val>, Totals), String> {
    let session = Session::new(surroundings)?;
    let instance = session.instantiate(guest)?;
    let results = session.main(&instance, args)?;
    drop(instance);
    let totals = session.finish()?;
    Ok((results, totals))
}
