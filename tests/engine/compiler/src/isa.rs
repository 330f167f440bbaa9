//! The code generator, configured for one machine.

use crate::error::CompileError;
use crate::limits::CompileLimits;
use cranelift_codegen::isa::{self, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use target_lexicon::{Architecture as Arch, OperatingSystem, Triple};
use vmexternref_engine_abi::{Architecture, Target};

/// Options of the compiler.
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    /// Whether the code collects at every safepoint at which a collection is possible.
    pub zeal: bool,
    /// The machine. `None` is this one, with all features of its processor.
    ///
    /// Code for a named machine uses the baseline only: SSE4.1 for `x86_64`, the `G` extensions for
    /// `riscv64`, `z14` for `s390x`.
    pub target: Option<Triple>,
    /// Whether functions sign their return addresses, where the target is `aarch64`.
    ///
    /// Processors without pointer authentication run such code too, and ignore the signatures.
    pub pointer_authentication: bool,
    /// The most that a module may have and ask for.
    pub limits: CompileLimits,
}

impl CompileOptions {
    /// The options for the machine of that name, such as `aarch64-unknown-none` or `pulley32`.
    ///
    /// # Errors
    ///
    /// A name that is not a target triple.
    pub fn for_target(triple: &str) -> Result<Self, CompileError> {
        let target = triple
            .parse()
            .map_err(|why| CompileError::Target(format!("{triple}: {why}")))?;
        Ok(Self {
            target: Some(target),
            ..Self::default()
        })
    }

    /// The options for bytecode that an interpreter on this machine runs.
    #[must_use]
    pub fn for_bytecode() -> Self {
        let architecture = if cfg!(target_pointer_width = "64") {
            Arch::Pulley64
        } else {
            Arch::Pulley32
        };
        let target = Triple {
            architecture,
            ..Triple::unknown()
        };
        Self {
            target: Some(target),
            ..Self::default()
        }
    }
}

/// The code generator for these options.
pub(crate) fn build(options: &CompileOptions) -> Result<OwnedTargetIsa, CompileError> {
    let mut builder = match &options.target {
        None => cranelift_native::builder().map_err(|why| CompileError::Target(why.into()))?,
        Some(triple) => named(triple)?,
    };
    let architecture = builder.triple().architecture;
    if options.target.is_some() && architecture == Arch::X86_64 {
        for feature in ["has_sse3", "has_ssse3", "has_sse41"] {
            builder.enable(feature).map_err(setting)?;
        }
    }
    if options.pointer_authentication && matches!(architecture, Arch::Aarch64(_)) {
        builder.enable("sign_return_address").map_err(setting)?;
    }
    let isa = builder
        .finish(settings::Flags::new(flags()?))
        .map_err(|error| CompileError::Target(error.to_string()))?;
    check(isa.as_ref())?;
    Ok(isa)
}

fn named(triple: &Triple) -> Result<isa::Builder, CompileError> {
    isa::lookup(triple.clone()).map_err(|error| CompileError::Target(format!("{triple}: {error}")))
}

fn setting(error: impl core::fmt::Display) -> CompileError {
    CompileError::Target(error.to_string())
}

fn flags() -> Result<settings::Builder, CompileError> {
    let mut flags = settings::builder();
    let verifier = if cfg!(debug_assertions) {
        "true"
    } else {
        "false"
    };
    for (name, value) in [
        ("opt_level", "speed"),
        ("is_pic", "false"),
        ("enable_probestack", "false"),
        ("preserve_frame_pointers", "true"),
        ("unwind_info", "true"),
        ("enable_multi_ret_implicit_sret", "true"),
        ("enable_verifier", verifier),
    ] {
        flags.set(name, value).map_err(setting)?;
    }
    Ok(flags)
}

/// Refuses machines that this engine does not support.
fn check(isa: &dyn TargetIsa) -> Result<(), CompileError> {
    let triple = isa.triple();
    if target(isa).architecture == Architecture::Other {
        return Err(CompileError::Target(format!(
            "{} is not x86_64, aarch64, riscv64, s390x, pulley32 or pulley64",
            triple.architecture
        )));
    }
    if triple.operating_system == OperatingSystem::Windows {
        return Err(CompileError::Target(
            "Windows has other unwind tables".into(),
        ));
    }
    if triple.architecture == Arch::X86_64 && !has(isa, "has_sse41") {
        return Err(CompileError::Target("x86_64 without SSE4.1".into()));
    }
    Ok(())
}

fn has(isa: &dyn TargetIsa, flag: &str) -> bool {
    isa.isa_flags()
        .iter()
        .any(|value| value.name == flag && value.as_bool() == Some(true))
}

/// The target of compiled modules for this machine.
pub(crate) fn target(isa: &dyn TargetIsa) -> Target {
    Target {
        architecture: match isa.triple().architecture {
            Arch::X86_64 => Architecture::X86_64,
            Arch::Aarch64(_) => Architecture::Aarch64,
            Arch::Riscv64(_) => Architecture::Riscv64,
            Arch::Pulley32 | Arch::Pulley64 => Architecture::Pulley,
            Arch::S390x => Architecture::S390x,
            _ => Architecture::Other,
        },
        pointer_bytes: isa.pointer_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::{CompileOptions, build};
    use crate::error::CompileError;

    fn for_target(triple: &str) -> Result<(), CompileError> {
        let options = CompileOptions {
            target: Some(triple.parse().expect("a triple")),
            ..CompileOptions::default()
        };
        build(&options).map(drop)
    }

    #[test]
    fn four_architectures_and_bytecode_are_accepted() {
        for triple in [
            "x86_64-unknown-linux-gnu",
            "x86_64-unknown-none",
            "aarch64-unknown-none",
            "riscv64gc-unknown-none-elf",
            "s390x-unknown-linux-gnu",
            "pulley32",
            "pulley64",
        ] {
            assert_eq!(for_target(triple), Ok(()), "{triple}");
        }
        assert!(build(&CompileOptions::default()).is_ok());
    }

    #[test]
    fn others_are_refused_by_name() {
        for triple in [
            "powerpc64le-unknown-linux-gnu",
            "wasm32-unknown-unknown",
            "x86_64-pc-windows-msvc",
            "pulley64be",
        ] {
            let error = for_target(triple).expect_err(triple);
            assert!(matches!(error, CompileError::Target(_)), "{error}");
        }
    }
}
