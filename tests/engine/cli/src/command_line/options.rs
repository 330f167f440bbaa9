//! The commands and their options, as `--help` shows them.

use super::size::stack_size;
use crate::script::script_stack;
use crate::session::engine_kind::EngineKind;
use crate::session::walker_kind::WalkerKind;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use vmexternref_engine_compiler::CompileLimits;
use vmexternref_engine_runtime::Limits;

/// The stack of guests in `run`, in bytes.
///
/// With zeal, a guest that recurses without end walks n² / 2 frames for n frames of stack. A
/// smaller stack keeps this short.
pub(super) const fn run_stack(walker: WalkerKind, zeal: bool) -> usize {
    match (walker, zeal) {
        (_, false) => 8 << 20,
        (WalkerKind::Backtrace, true) => 1 << 20,
        (_, true) => 2 << 20,
    }
}

/// Runs WebAssembly that holds externrefs, and frees each host object soon after the guest drops
/// it.
#[derive(Debug, Parser)]
#[command(name = "vmexternref-engine", version)]
pub(super) struct CommandLine {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Runs a module: its start function, then one of its exports.
    ///
    /// The first line of the output names the walker: the way in which collections find stack
    /// frames. Each collection has a line, `gc: swept: walked F frames (W wasm), found R roots,
    /// table B -> A, freed N`: R references in F frames are in use; the table of references that
    /// may be in use went from B entries to A; N host objects died. Collections of cycles have a
    /// line that begins with `cycles:`. A line `objects:` sums up who freed what. The last line,
    /// `alive: N`, counts the host objects that outlived the store.
    #[command(after_help = run_limits())]
    Run(RunArgs),
    /// Runs scripts in the language of the specification's tests.
    ///
    /// The last line of the output counts the directives: `N passed, N failed, N skipped`.
    #[command(after_help = script_limits())]
    Wast(WastArgs),
    /// Compiles a module ahead of time, to an object file.
    #[command(after_help = compile_limits())]
    Compile(CompileArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The module, as text or binary.
    pub(super) file: PathBuf,
    /// The export to call [default: the first of `main`, `_start` and `run` that is a function]
    #[arg(long, value_name = "NAME")]
    pub(super) invoke: Option<String>,
    /// Arguments of the called function: numbers, `null`, or for an `externref` the number in a new
    /// host object.
    ///
    /// Put words like `-inf` behind `--`.
    #[arg(allow_negative_numbers = true)]
    pub(super) args: Vec<String>,
    #[command(flatten)]
    pub(super) common: CommonArgs,
    /// Print each frame and each root that a collection finds.
    #[arg(long)]
    pub(super) trace: bool,
    /// The directory that relative file names of the guest start from [default: a new temporary
    /// one]
    #[arg(long, value_name = "PATH")]
    pub(super) dir: Option<PathBuf>,
    /// Write a page that shows each collection: its stack, what each slot holds, and what died.
    #[arg(long, value_name = "FILE.html")]
    pub(super) report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct WastArgs {
    /// Scripts, or folders of scripts (every `.wast` file in them).
    #[arg(required = true)]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct CompileArgs {
    /// The module, as text or binary.
    pub(super) file: PathBuf,
    /// The object file to write.
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// The machine to compile for, such as `aarch64-unknown-none`; or an interpreter's bytecode,
    /// `pulley32` or `pulley64` [default: this machine]
    #[arg(long, value_name = "TRIPLE")]
    pub(super) target: Option<String>,
    /// Collect at every safepoint [default: when the activations table is full]
    #[arg(long)]
    pub(super) zeal: bool,
    /// Sign return addresses, on `aarch64` only.
    #[arg(long)]
    pub(super) pointer_authentication: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct CommonArgs {
    /// What runs guests.
    #[arg(long, value_enum, default_value_t)]
    pub(super) engine: EngineKind,
    /// How collections find stack frames.
    #[arg(long, value_enum, default_value_t)]
    pub(super) walker: WalkerKind,
    /// Collect at every safepoint [default: when the activations table is full]
    #[arg(long)]
    pub(super) zeal: bool,
    /// The stack of guests, from 16K to 1G: bytes, or KiB, MiB or GiB with K, M or G [default: see
    /// below]
    #[arg(long, value_name = "SIZE", value_parser = stack_size)]
    pub(super) stack: Option<usize>,
}

/// The limits of modules, as text.
fn compile_limits() -> String {
    let rows = CompileLimits::default().rows();
    let rows = rows.map(|(name, most)| format!("\n  {name}: {most}"));
    format!(
        "A module may have and ask of the compiler at most:{}",
        rows.concat()
    )
}

/// The limits of guests in `run`, as text.
fn run_limits() -> String {
    let Limits {
        max_memory_pages,
        max_table_elements,
        max_bytes,
        ..
    } = Limits::default();
    let (memory, all) = (max_memory_pages >> 4, max_bytes >> 20);
    format!(
        "{}.\nA memory has at most {memory} MiB, a table at most {max_table_elements} elements, and \
         all of them together {all} MiB.\n\
         The limits of modules are those of `compile`.",
        stack_limits(run_stack)
    )
}

/// The limits of scripts, as text.
fn script_limits() -> String {
    format!("{}.", stack_limits(script_stack))
}

/// The sizes of stack that `bytes` returns, as text.
fn stack_limits(bytes: impl Fn(WalkerKind, bool) -> usize) -> String {
    let kib = |walker, zeal| bytes(walker, zeal) >> 10;
    format!(
        "Without --stack, guests have {} KiB of stack; {} KiB with --zeal, {} KiB with --zeal --walker {}",
        kib(WalkerKind::default(), false),
        kib(WalkerKind::default(), true),
        kib(WalkerKind::Backtrace, true),
        WalkerKind::Backtrace,
    )
}
