//! A store with everything that guests may import.

pub(crate) mod engine_kind;
pub(crate) mod guest_stack;
mod trace;
pub(crate) mod walker_kind;

use crate::error::EngineError;
use crate::host::console::Console;
use crate::host::directory::Directory;
use crate::host::{files, spectest};
use core::ops::Range;
use engine_kind::EngineKind;
use guest_stack::HOST_SHARE;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use trace::{CodeMap, Tracing};
use vmexternref_core::{StackMapRegistry, StackWalker};
use vmexternref_engine_compiler::{CompileError, CompileOptions, compile};
use vmexternref_engine_host::{Census, Host};
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
        let limits = Limits {
            stack_bytes: stack.len().saturating_sub(HOST_SHARE),
            ..Limits::default()
        };
        Self {
            engine: EngineKind::Native,
            walker,
            zeal: false,
            verification: cfg!(debug_assertions),
            trace: false,
            report_collections: false,
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
    trace: bool,
    linker: Linker,
    code_map: CodeMap,
    store: Store,
    host: Host,
    directory: Rc<Directory>,
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
        store.set_walker(if settings.trace {
            Box::new(Tracing::new(walker, &code_map, &settings.console))
        } else {
            walker
        });
        if settings.report_collections {
            let console = settings.console.clone();
            store.set_gc_observer(Box::new(move |report| {
                console.line(format_args!("gc: {report}"));
            }));
        }
        let host = Host::new(Rc::new(settings.console.clone()), census);
        if settings.report_collections {
            let console = settings.console.clone();
            host.set_cycle_observer(Box::new(move |report| {
                // Most guests have no cells, and then the last collection has nothing to say.
                if report.boxes != 0 {
                    console.line(format_args!("cycles: {report}"));
                }
            }));
        }
        let directory = Rc::new(Directory::new(settings.directory.clone()));
        let mut linker = Linker::new();
        host.define(&store, &mut linker)
            .and_then(|()| files::define(&host, &directory, &store, &mut linker))
            .map_err(AccessError::from)?;
        spectest::define(&host, &store, &mut linker)?;
        Ok(Self {
            engine: settings.engine,
            zeal: settings.zeal,
            trace: settings.trace,
            linker,
            code_map,
            store,
            host,
            directory,
        })
    }

    /// Makes collections walk with `walker` from now on.
    pub fn set_walker(&self, walker: Box<dyn StackWalker>) {
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
        let description = self.trace.then(|| CodeMap::describe(&compiled));
        let module = Module::load(&self.store, compiled)?;
        if let Some(description) = description {
            self.code_map.add(module.base().addr(), description);
        }
        Ok(self.linker.instantiate(&self.store, &module)?)
    }

    /// Lets later modules import from `instance` under `name`.
    pub fn register(&mut self, name: &str, instance: &Instance) {
        self.linker.define_instance(name, instance);
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

    /// The directory of the guest's files.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Drops the store, collects the cycles that it leaves, and returns the number of host objects
    /// that are still alive.
    pub fn finish(self) -> u64 {
        let host = self.host.clone();
        drop(self);
        host.collect_cycles();
        host.census().alive()
    }
}
