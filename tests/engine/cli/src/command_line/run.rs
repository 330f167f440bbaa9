//! `run`: instantiates a module and calls one of its functions.

use super::arguments;
use crate::error::EngineError;
use crate::session::{Session, Settings};
use crate::source;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use vmexternref_engine_host::Shown;
use vmexternref_engine_runtime::{Extern, Func, Instance};

/// The functions to call by default: the first of these that the module exports.
const ENTRY_POINTS: [&str; 3] = ["main", "_start", "run"];

/// The function to call, and its arguments as text.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// The export to call, or `None` for the default entry point.
    pub name: Option<String>,
    /// The arguments, in the order of the parameters.
    pub arguments: Vec<String>,
}

/// Instantiates the module in the file `path`, calls a function of it and prints the results.
///
/// The first line names the walker. The last one is the number of host objects that outlived the
/// store. The page of a session that records goes to the file `report`.
///
/// # Errors
///
/// A bad file, module or argument, a trap of the guest, or host objects that outlive the store.
pub fn run_module(
    path: &Path,
    invocation: &Invocation,
    settings: &Settings,
    report: Option<&Path>,
) -> Result<(), EngineError> {
    let wasm = source::read_module(path)?;
    report.map_or(Ok(()), check_writable)?;
    let session = Session::new(settings)?;
    let console = &settings.console;
    console.line(format_args!("walker: {}", settings.walker));
    let outcome = run_in(&session, path, &wasm, invocation);
    if let Some(scratch) = session.directory().settle() {
        console.line(format_args!("files are in {}", scratch.display()));
    }
    let (freed, census) = (session.freed(), session.census().clone());
    let (alive, page) = session.finish_with_page(&path.display().to_string());
    if let (Some(page), Some(report)) = (page, report) {
        fs::write(report, page.html()).map_err(|source| cannot_write(report, source))?;
        console.line(format_args!("report: {}", report.display()));
    }
    if let Some(sentence) = freed.sentence(census.made(), alive) {
        console.line(format_args!("objects: {sentence}"));
    }
    console.line(format_args!("alive: {alive}"));
    outcome?;
    match alive {
        0 => Ok(()),
        alive => Err(EngineError::StillAlive(alive)),
    }
}

/// Tells that a file cannot be written, before the guest runs. What is in it stays.
fn check_writable(path: &Path) -> Result<(), EngineError> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_or_else(|source| Err(cannot_write(path, source)), |_| Ok(()))
}

fn cannot_write(path: &Path, source: io::Error) -> EngineError {
    EngineError::Write {
        path: path.to_owned(),
        source,
    }
}

fn run_in(
    session: &Session,
    path: &Path,
    wasm: &[u8],
    invocation: &Invocation,
) -> Result<(), EngineError> {
    let compiled = session
        .compile(wasm)
        .map_err(|source| EngineError::Compile {
            path: path.to_owned(),
            source,
        })?;
    let instance = session.instantiate(compiled)?;
    let Some(name) = chosen(&instance, invocation)? else {
        return Ok(());
    };
    let func = function(&instance, name)?;
    let params = func.ty(session.store())?.params;
    let given = &invocation.arguments;
    if given.len() != params.len() {
        return Err(EngineError::ArgumentCount {
            name: name.to_owned(),
            expected: params.len(),
            found: given.len(),
        });
    }
    let arguments = params
        .iter()
        .zip(given)
        .map(|(&expected, text)| {
            arguments::parse(expected, text, session.census()).ok_or_else(|| {
                EngineError::Argument {
                    text: text.clone(),
                    expected,
                }
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    for result in func.call(session.store(), &arguments)? {
        let shown = Shown(&result);
        session.host().platform().print(format_args!("{shown}"));
    }
    Ok(())
}

/// The name of the function to call, or `None` if the module has no entry point.
fn chosen<'a>(
    instance: &Instance,
    invocation: &'a Invocation,
) -> Result<Option<&'a str>, EngineError> {
    if let Some(name) = &invocation.name {
        return Ok(Some(name));
    }
    let entry_point = ENTRY_POINTS
        .into_iter()
        .find(|name| matches!(instance.export(name), Some(Extern::Func(_))));
    match (entry_point, invocation.arguments.first()) {
        // Arguments without a function to take them are a mistake.
        (None, Some(_)) => Err(EngineError::UnknownExport(ENTRY_POINTS[0].to_owned())),
        (entry_point, _) => Ok(entry_point),
    }
}

fn function(instance: &Instance, name: &str) -> Result<Func, EngineError> {
    match instance.export(name) {
        Some(Extern::Func(func)) => Ok(func),
        Some(_) => Err(EngineError::NotAFunction(name.to_owned())),
        None => Err(EngineError::UnknownExport(name.to_owned())),
    }
}
