//! Carries out a command, and turns its outcome into an exit code.

mod arguments;
pub(crate) mod compile;
mod options;
pub(crate) mod run;
mod size;

use crate::error::EngineError;
use crate::host::console::Console;
use crate::script::find::find_scripts;
use crate::script::{Tally, run_script, script_stack};
use crate::session::Settings;
use crate::session::guest_stack::on_guest_stack;
use clap::Parser;
use clap::error::ErrorKind;
use compile::compile_module;
use options::{Command, CommandLine, CommonArgs, CompileArgs, RunArgs, WastArgs, run_stack};
use run::{Invocation, run_module};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use vmexternref_engine_compiler::CompileOptions;

/// Parses the arguments and runs the command.
///
/// An error is one line on the standard error, and exit code 1; a wrong command line has exit code
/// 2.
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

/// Prints an error as one line to the standard error.
fn complain(message: &str) {
    let words: Vec<_> = message.split_whitespace().collect();
    // The standard error may be closed.
    let _ = writeln!(io::stderr(), "error: {}", words.join(" "));
}

/// Prints the help or version that was asked for, or the mistake in the command line.
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
    let CommonArgs {
        engine,
        walker,
        zeal,
        stack,
    } = args.common;
    let bytes = stack.unwrap_or(run_stack(walker, zeal));
    on_guest_stack(bytes, |stack| {
        let settings = Settings {
            engine,
            zeal,
            trace: args.trace,
            report_collections: true,
            record: args.report.is_some(),
            console: Console::stdout(),
            directory: args.dir,
            ..Settings::new(walker, stack)
        };
        run_module(&args.file, &invocation, &settings, args.report.as_deref())
    })?
}

fn wast(args: &WastArgs) -> Result<bool, EngineError> {
    let WastArgs {
        paths,
        common:
            CommonArgs {
                engine,
                walker,
                zeal,
                stack,
            },
    } = args;
    let bytes = stack.unwrap_or(script_stack(*walker, *zeal));
    let console = Console::stdout();
    let scripts = find_scripts(paths)?;
    let mut total = Tally::default();
    for path in scripts {
        let report = on_guest_stack(bytes, |stack| {
            let settings = Settings {
                engine: *engine,
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
