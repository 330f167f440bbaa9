//! The commands, and how their outcome leaves the program.

use crate::compile::compile_module;
use crate::error::EngineError;
use crate::guest_stack::on_guest_stack;
use crate::host::console::Console;
use crate::run::{Invocation, run_module};
use crate::script::{Tally, run_script, script_stack};
use crate::script_files::find_scripts;
use crate::session::Settings;
use crate::walkers::WalkerKind;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use vmexternref_engine_compiler::CompileOptions;
use vmexternref_engine_runtime::Limits;

/// The stack of guests in `run`, in bytes.
///
/// With zeal, a guest that recurses without end walks half of n² frames, so that less is more.
const fn run_stack(walker: WalkerKind, zeal: bool) -> usize {
    match (walker, zeal) {
        (_, false) => 8 << 20,
        (WalkerKind::Backtrace, true) => 1 << 20,
        (_, true) => 2 << 20,
    }
}

/// Runs WebAssembly that holds externrefs, and frees each host object soon after the guest drops it.
#[derive(Debug, Parser)]
#[command(name = "vmexternref-engine", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a module: its start function, then one of its exports.
    ///
    /// The first line of the output names the walker. The last one, `alive: N`, counts the host objects that
    /// outlived the store.
    #[command(after_help = run_limits())]
    Run(RunArgs),
    /// Runs scripts in the language of the specification's tests.
    ///
    /// The last line of the output counts the directives: `N passed, N failed, N skipped`.
    #[command(after_help = script_limits())]
    Wast(WastArgs),
    /// Compiles a module ahead of time, to an object file.
    Compile(CompileArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The module, as text or binary.
    file: PathBuf,
    /// The export to call [default: the first of `main`, `_start` and `run` that is a function]
    #[arg(long, value_name = "NAME")]
    invoke: Option<String>,
    /// Arguments of the called function: numbers, `null`, or for an `externref` the number in a new host object.
    ///
    /// Put words like `-inf` behind `--`.
    #[arg(allow_negative_numbers = true)]
    args: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
    /// Print each frame and each root that a collection finds.
    #[arg(long)]
    trace: bool,
    /// The directory that relative file names of the guest start from [default: a new temporary one]
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct WastArgs {
    /// Scripts, or folders of scripts (every `.wast` file in them).
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CompileArgs {
    /// The module, as text or binary.
    file: PathBuf,
    /// The object file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The machine to compile for, such as `aarch64-unknown-none` [default: this machine]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Collect at every safepoint [default: when the activations table is full]
    #[arg(long)]
    zeal: bool,
    /// Sign return addresses, on `aarch64` only.
    #[arg(long)]
    pointer_authentication: bool,
}

#[derive(Clone, Copy, Debug, Args)]
struct CommonArgs {
    /// How collections find stack frames.
    #[arg(long, value_enum, default_value_t)]
    walker: WalkerKind,
    /// Collect at every safepoint [default: when the activations table is full]
    #[arg(long)]
    zeal: bool,
}

/// What guests in `run` may use.
fn run_limits() -> String {
    let Limits {
        max_memory_pages,
        max_table_elements,
        ..
    } = Limits::default();
    let memory = max_memory_pages >> 4;
    format!(
        "{}.\nA memory has at most {memory} MiB, a table at most {max_table_elements} elements.",
        stack_limits(run_stack)
    )
}

/// What scripts may use.
fn script_limits() -> String {
    format!("{}.", stack_limits(script_stack))
}

/// The stack that `bytes` gives to guests.
fn stack_limits(bytes: impl Fn(WalkerKind, bool) -> usize) -> String {
    let kib = |walker, zeal| bytes(walker, zeal) >> 10;
    format!(
        "Guests have {} KiB of stack; {} KiB with --zeal, {} KiB with --zeal --walker {}",
        kib(WalkerKind::default(), false),
        kib(WalkerKind::default(), true),
        kib(WalkerKind::Backtrace, true),
        WalkerKind::Backtrace,
    )
}

/// Does what the command line says.
///
/// What goes wrong is told in one line on the standard error, and in the exit code.
pub fn run_command_line(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match CommandLine::try_parse_from(args) {
        Ok(CommandLine { command }) => command,
        Err(error) => return usage(&error),
    };
    let outcome = match command {
        Command::Run(args) => run(args).map(|()| true),
        Command::Wast(args) => wast(&args),
        Command::Compile(args) => compile(&args).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Prints one line to the standard error.
fn complain(message: &str) {
    let words: Vec<_> = message.split_whitespace().collect();
    // Nobody may be left to read it.
    let _ = writeln!(io::stderr(), "error: {}", words.join(" "));
}

/// Shows what was asked for, or what is wrong with the command line in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is needed",
        _ => first.strip_prefix("error: ").unwrap_or(first),
    };
    complain(&format!("{message} (--help tells more)"));
    ExitCode::from(2)
}

fn run(args: RunArgs) -> Result<(), EngineError> {
    let invocation = Invocation {
        name: args.invoke,
        arguments: args.args,
    };
    on_guest_stack(run_stack(args.common.walker, args.common.zeal), |stack| {
        let settings = Settings {
            zeal: args.common.zeal,
            trace: args.trace,
            report_collections: true,
            console: Console::stdout(),
            directory: args.dir,
            ..Settings::new(args.common.walker, stack)
        };
        run_module(&args.file, &invocation, &settings)
    })?
}

fn wast(args: &WastArgs) -> Result<bool, EngineError> {
    let WastArgs {
        paths,
        common: CommonArgs { walker, zeal },
    } = args;
    let console = Console::stdout();
    let scripts = find_scripts(paths)?;
    let mut total = Tally::default();
    for path in scripts {
        let report = on_guest_stack(script_stack(*walker, *zeal), |stack| {
            let settings = Settings {
                zeal: *zeal,
                ..Settings::new(*walker, stack)
            };
            run_script(&path, &settings)
        })??;
        for line in report.failures.iter().cloned().chain(report.skips(&path)) {
            console.line(line);
        }
        total.add(report.tally);
    }
    console.line(total);
    Ok(total.failed == 0)
}

fn compile(args: &CompileArgs) -> Result<(), EngineError> {
    let machine = match &args.target {
        Some(triple) => CompileOptions::for_target(triple).map_err(EngineError::Target)?,
        None => CompileOptions::default(),
    };
    let options = CompileOptions {
        zeal: args.zeal,
        pointer_authentication: args.pointer_authentication,
        ..machine
    };
    compile_module(&args.file, &args.output, &options)
}
