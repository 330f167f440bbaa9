//! A store with everything that guests may import.

pub(crate) mod code_map;
pub(crate) mod engine_kind;
mod freed;
pub(crate) mod guest_stack;
mod trace;
pub(crate) mod walker_kind;

use crate::error::EngineError;
use crate::host::console::Console;
use crate::host::directory::Directory;
use crate::host::{files, spectest};
use crate::report::{Page, Recorder};
use code_map::CodeMap;
use core::cell::RefCell;
use core::ops::Range;
use engine_kind::EngineKind;
use freed::Freed;
use guest_stack::HOST_SHARE;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use trace::Tracing;
use vmexternref_core::{Garbage, GcReport, ObservedStack, Observer, StackMapRegistry, StackWalker};
use vmexternref_engine_compiler::{CompileError, CompileOptions, compile};
use vmexternref_engine_host::{Census, CycleEvent, Host};
use vmexternref_engine_runtime::{
    AccessError, CompiledModule, Instance, Limits, Linker, Module, Store,
};
use walker_kind::WalkerKind;

/// How to set up a session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What runs the guests.
    pub engine: EngineKind,
    /// The walker of collections.
    pub walker: WalkerKind,
    /// Whether to collect at every safepoint.
    pub zeal: bool,
    /// Whether collections check each root against the activations table before use.
    pub verification: bool,
    /// Whether to print each frame and each root that a collection finds.
    pub trace: bool,
    /// Whether to print a line for each collection, also of cycles.
    pub report_collections: bool,
    /// Whether to record what a [`Page`] shows.
    pub record: bool,
    /// The addresses of the stack that guests run on.
    pub stack: Range<usize>,
    /// The limits of the store.
    pub limits: Limits,
    /// Where guests and the host print.
    pub console: Console,
    /// The directory that relative file names of guests start from; by default a new scratch
    /// directory.
    pub directory: Option<PathBuf>,
}

impl Settings {
    /// A native session that prints nothing, with this walker, on this stack.
    ///
    /// Guests may use the whole stack except the host's share of
    /// [`on_guest_stack`](crate::on_guest_stack).
    pub fn new(walker: WalkerKind, stack: Range<usize>) -> Self {
        let stack_bytes = stack.len().saturating_sub(HOST_SHARE);
        let limits = Limits {
            stack_bytes,
            interpreter_stack_bytes: stack_bytes,
            ..Limits::default()
        };
        Self {
            engine: EngineKind::Native,
            walker,
            zeal: false,
            verification: cfg!(debug_assertions),
            trace: false,
            report_collections: false,
            record: false,
            stack,
            limits,
            console: Console::silent(),
            directory: None,
        }
    }
}

/// A store, its code and its host.
#[derive(Debug)]
pub struct Session {
    engine: EngineKind,
    zeal: bool,
    walker: WalkerKind,
    linker: Linker,
    code_map: CodeMap,
    store: Store,
    host: Host,
    directory: Rc<Directory>,
    recorder: Option<Recorder>,
    freed: Freed,
}

impl Session {
    /// A new store with the modules `host` and `spectest` to import from.
    pub fn new(settings: &Settings) -> Result<Self, EngineError> {
        let registry = Arc::new(StackMapRegistry::new());
        Self::with_registry(settings, registry, Census::default())
    }

    /// The same, but with a registry and a census that are shared with other stores.
    pub fn with_registry(
        settings: &Settings,
        registry: Arc<StackMapRegistry>,
        census: Census,
    ) -> Result<Self, EngineError> {
        let walks_native_frames = settings.walker != WalkerKind::Activations;
        if settings.engine == EngineKind::Pulley && walks_native_frames {
            return Err(EngineError::NativeWalker(settings.walker));
        }
        let store = settings.engine.store(registry, settings.limits);
        let store = store.map_err(AccessError::from)?;
        store.set_zeal(settings.zeal);
        store
            .context()
            .table
            .set_verification(settings.verification);
        let code_map = CodeMap::default();
        let walker = settings.walker.build(&store, settings.stack.clone())?;
        store.set_walker(walker);
        let recorder = settings
            .record
            .then(|| Recorder::new(store.downgrade(), &code_map));
        let mut observers: Vec<Box<dyn Observer>> = Vec::new();
        if settings.trace {
            observers.push(Box::new(Tracing::new(&code_map, &settings.console)));
        }
        if let Some(recorder) = &recorder {
            census.observe(Rc::new(recorder.clone()));
            observers.push(Box::new(recorder.clone()));
        }
        if !observers.is_empty() {
            store.observe_collections(Rc::new(RefCell::new(Observers(observers))));
        }
        let freed = Freed::default();
        if settings.report_collections {
            let (console, freed) = (settings.console.clone(), freed.clone());
            store.set_gc_observer(Rc::new(move |report| {
                freed.add(report.freed);
                console.line(format_args!("gc: {report}"));
            }));
        }
        let host = Host::new(Rc::new(settings.console.clone()), census);
        let (console, recording) = (settings.console.clone(), recorder.clone());
        let (reports, cycles) = (settings.report_collections, freed.clone());
        host.set_cycle_observer(Box::new(move |event| {
            if let Some(recorder) = &recording {
                recorder.cycles(event);
            }
            // Most guests have no cells, and then the last collection has nothing to say.
            match event {
                CycleEvent::Ended(report) if reports && report.boxes != 0 => {
                    cycles.add(report.freed);
                    console.line(format_args!("cycles: {report}"));
                }
                _ => {}
            }
        }));
        let directory = Rc::new(Directory::new(settings.directory.clone()));
        let mut linker = Linker::new();
        host.define(&store, &mut linker)
            .and_then(|()| files::define(&host, &directory, &store, &mut linker))
            .map_err(AccessError::from)?;
        spectest::define(&host, &store, &mut linker)?;
        Ok(Self {
            engine: settings.engine,
            zeal: settings.zeal,
            walker: settings.walker,
            linker,
            code_map,
            store,
            host,
            directory,
            recorder,
            freed,
        })
    }

    /// What collections saw and did so far, if the session records; `program` is its title.
    pub fn page(&self, program: &str) -> Option<Page> {
        let recorder = self.recorder.as_ref()?;
        Some(recorder.page(program, self.engine, self.walker))
    }

    /// Makes collections walk with `walker` from now on.
    pub fn set_walker(&self, walker: Rc<dyn StackWalker>) {
        self.store.set_walker(walker);
    }

    /// Compiles a binary module.
    pub fn compile(&self, wasm: &[u8]) -> Result<CompiledModule, CompileError> {
        let options = CompileOptions {
            zeal: self.zeal,
            ..self.engine.compile_options()
        };
        compile(wasm, &options)
    }

    /// Loads a module, and instantiates it with the items that are defined so far.
    pub fn instantiate(&self, compiled: CompiledModule) -> Result<Instance, EngineError> {
        let description = CodeMap::describe(&compiled);
        let module = Module::load(&self.store, compiled)?;
        self.code_map.add(module.base().addr(), description);
        Ok(self.linker.instantiate(&self.store, &module)?)
    }

    /// Lets later modules import from `instance` under `name`.
    pub fn register(&mut self, name: &str, instance: &Instance) -> Result<(), EngineError> {
        let defined = self.linker.define_instance(name, instance);
        Ok(defined.map_err(AccessError::from)?)
    }

    /// The items that modules can import.
    pub fn linker(&mut self) -> &mut Linker {
        &mut self.linker
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Counts the host objects.
    pub fn census(&self) -> &Census {
        self.host.census()
    }

    /// The host that defined the functions of the module `host`.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What reported collections freed.
    pub(crate) fn freed(&self) -> Freed {
        self.freed.clone()
    }

    /// The directory of the guest's files.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Drops the store, collects the cycles that it leaves, and returns the number of host objects
    /// that are still alive.
    pub fn finish(self) -> u64 {
        self.finish_with_page("").0
    }

    /// Finishes, and returns the [`page`](Self::page) of the whole run, too.
    pub fn finish_with_page(self, program: &str) -> (u64, Option<Page>) {
        let (host, recorder) = (self.host.clone(), self.recorder.clone());
        let (engine, walker) = (self.engine, self.walker);
        recorder.iter().for_each(Recorder::end_of_run);
        drop(self);
        host.collect_cycles();
        let page = recorder.map(|recorder| recorder.page(program, engine, walker));
        (host.census().alive(), page)
    }
}

/// Several observers as one; the last one's first call comes last, and its second first.
struct Observers(Vec<Box<dyn Observer>>);

impl Observer for Observers {
    fn walked(&mut self, stack: &ObservedStack<'_>) {
        self.0
            .iter_mut()
            .for_each(|observer| observer.walked(stack));
    }

    fn collected(&mut self, report: &GcReport, garbage: &Garbage) {
        let observers = self.0.iter_mut().rev();
        observers.for_each(|observer| observer.collected(report, garbage));
    }
}
