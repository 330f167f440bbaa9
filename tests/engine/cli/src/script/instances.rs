//! The modules of a script, by name.

use super::report::{Step, Verdict};
use crate::error::EngineError;
use crate::session::Session;
use std::collections::HashMap;
use vmexternref_engine_compiler::CompileError;
use vmexternref_engine_runtime::{CompiledModule, Instance, InstantiateError};
use wast::QuoteWat;
use wast::token::Id;

/// The instance of a module, or the missing feature that it needs.
type Slot = Result<Instance, String>;

/// The modules and instances of one script, in one session.
pub(super) struct Instances {
    session: Session,
    current: Option<Slot>,
    instances: HashMap<String, Slot>,
    definitions: HashMap<Option<String>, Result<CompiledModule, String>>,
    /// The modules to import from, each with the missing feature that it needs, if any.
    registered: HashMap<String, Result<(), String>>,
}

fn owned(id: Option<Id<'_>>) -> Option<String> {
    id.map(|id| id.name().to_owned())
}

/// Why a module was not instantiated.
pub(super) enum Refusal {
    /// Its text is malformed.
    Text(wast::Error),
    /// It is malformed, invalid or unsupported.
    Module(CompileError),
    /// It imports from a module that needs a missing feature.
    Feature(String),
    /// It failed after it was compiled.
    Later(EngineError),
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Text(error) => {
                Self::failed(format_args!("malformed text: {}", error.message()))
            }
            Refusal::Module(CompileError::Unsupported(feature)) => Self::lacks(feature),
            Refusal::Module(error) => Self::failed(error),
            Refusal::Feature(reason) => Self::Skipped(reason),
            Refusal::Later(error) => Self::failed(error),
        }
    }
}

impl Instances {
    /// Starts with the modules of the host.
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            current: None,
            instances: HashMap::new(),
            definitions: HashMap::new(),
            registered: ["host", "spectest"]
                .map(|name| (name.to_owned(), Ok(())))
                .into(),
        }
    }

    /// The session of all modules.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Drops everything, and returns the number of host objects that are still alive.
    pub(super) fn finish(self) -> u64 {
        let Self { session, .. } = self;
        session.finish()
    }

    /// Compiles a module from text, quoted text or binary.
    pub(super) fn compile(&self, module: &mut QuoteWat<'_>) -> Result<CompiledModule, Refusal> {
        let wasm = module.encode().map_err(Refusal::Text)?;
        self.session.compile(&wasm).map_err(Refusal::Module)
    }

    /// Instantiates a module, which stays without a name.
    pub(super) fn instantiate(&self, module: &mut QuoteWat<'_>) -> Result<Instance, Refusal> {
        let compiled = self.compile(module)?;
        self.instantiate_compiled(compiled)
    }

    fn instantiate_compiled(&self, compiled: CompiledModule) -> Result<Instance, Refusal> {
        self.session.instantiate(compiled).map_err(|error| {
            if let EngineError::Instantiate(InstantiateError::UnknownImport { module, .. }) = &error
                && let Some(Err(reason)) = self.registered.get(module)
            {
                return Refusal::Feature(reason.clone());
            }
            Refusal::Later(error)
        })
    }

    /// Instantiates a module, and makes it the current one.
    pub(super) fn module(&mut self, mut module: QuoteWat<'_>) -> Step<()> {
        let name = owned(module.name());
        let instance = self.instantiate(&mut module).map_err(Verdict::from);
        self.keep(name, instance)
    }

    /// Makes an instance, or the feature that it needs, the current one.
    fn keep(&mut self, name: Option<String>, instance: Step<Instance>) -> Step<()> {
        self.current = None;
        let (slot, verdict) = match instance {
            Ok(instance) => (Ok(instance), Ok(())),
            Err(Verdict::Skipped(reason)) => (Err(reason.clone()), Err(Verdict::Skipped(reason))),
            Err(failed) => return Err(failed),
        };
        if let Some(name) = name {
            // Some scripts import from a named instance without registering it.
            if !self.registered.contains_key(&name) {
                self.offer(&name, &slot)?;
            }
            self.instances.insert(name, slot.clone());
        }
        self.current = Some(slot);
        verdict
    }

    /// Compiles a module for later.
    pub(super) fn define(&mut self, mut module: QuoteWat<'_>) -> Step<()> {
        let name = owned(module.name());
        let (definition, verdict) = match self.compile(&mut module).map_err(Verdict::from) {
            Ok(compiled) => (Ok(compiled), Ok(())),
            Err(Verdict::Skipped(reason)) => (Err(reason.clone()), Err(Verdict::Skipped(reason))),
            Err(failed) => return Err(failed),
        };
        self.definitions.insert(None, definition.clone());
        if name.is_some() {
            self.definitions.insert(name, definition);
        }
        verdict
    }

    /// Instantiates a module that was defined before.
    pub(super) fn instantiate_definition(
        &mut self,
        instance: Option<Id<'_>>,
        module: Option<Id<'_>>,
    ) -> Step<()> {
        let definition = self
            .definitions
            .get(&owned(module))
            .ok_or_else(|| Verdict::failed("no such module definition"))?;
        let made = match definition {
            Ok(compiled) => self
                .instantiate_compiled(compiled.clone())
                .map_err(Verdict::from),
            Err(reason) => Err(Verdict::Skipped(reason.clone())),
        };
        self.keep(owned(instance), made)
    }

    /// Lets later modules import from an instance under `name`.
    pub(super) fn register(&mut self, name: &str, module: Option<Id<'_>>) -> Step<()> {
        let slot = self.slot(module)?.clone();
        self.offer(name, &slot)?;
        slot.map(drop).map_err(Verdict::Skipped)
    }

    fn offer(&mut self, name: &str, slot: &Slot) -> Step<()> {
        if let Ok(instance) = slot {
            let offered = self.session.register(name, instance);
            offered.map_err(Verdict::failed)?;
        }
        let known = slot.as_ref().map(drop).map_err(String::clone);
        self.registered.insert(name.to_owned(), known);
        Ok(())
    }

    fn slot(&self, module: Option<Id<'_>>) -> Step<&Slot> {
        let slot = match module {
            Some(id) => self.instances.get(id.name()),
            None => self.current.as_ref(),
        };
        slot.ok_or_else(|| Verdict::failed("no such instance"))
    }

    /// The instance of that name, or the current one.
    pub(super) fn instance(&self, module: Option<Id<'_>>) -> Step<&Instance> {
        let slot = self.slot(module)?.as_ref();
        slot.map_err(|reason| Verdict::Skipped(reason.clone()))
    }
}
