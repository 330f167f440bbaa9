//! The engines to choose from.

use clap::ValueEnum;
use core::fmt;
use std::rc::Rc;
use std::sync::Arc;
use vmexternref_core::{OutOfMemory, StackMapRegistry};
use vmexternref_engine_code_memory::CodeMemory;
use vmexternref_engine_compiler::CompileOptions;
use vmexternref_engine_runtime::{Limits, Store};

/// What runs guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EngineKind {
    /// The machine: guests are compiled to its code.
    #[default]
    Native,
    /// The Pulley interpreter: guests are compiled to its bytecode.
    Pulley,
}

impl EngineKind {
    /// Both engines.
    pub const ALL: [Self; 2] = [Self::Native, Self::Pulley];

    /// A store with this engine.
    pub(crate) fn store(
        self,
        registry: Arc<StackMapRegistry>,
        limits: Limits,
    ) -> Result<Store, OutOfMemory> {
        match self {
            Self::Native => Store::new(registry, limits, Rc::new(CodeMemory::default())),
            Self::Pulley => Store::interpreted(registry, limits),
        }
    }

    /// How the engine's modules are compiled.
    pub(crate) fn compile_options(self) -> CompileOptions {
        match self {
            Self::Native => CompileOptions::default(),
            Self::Pulley => CompileOptions::for_bytecode(),
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no engine is hidden");
        f.write_str(value.get_name())
    }
}
