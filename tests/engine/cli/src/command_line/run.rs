//! `run`: instantiates a module and calls one of its functions.

use super::arguments;
use crate::error::EngineError;
use crate::session::{Session, Settings};
use crate::source;
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
/// store.
///
/// # Errors
///
/// A bad file, module or argument, a trap of the guest, or host objects that outlive the store.
pub fn run_module(
    path: &Path,
    invocation: &Invocation,
    settings: &Settings,
) -> Result<(), EngineError> {
    let wasm = source::read_module(path)?;
    let session = Session::new(settings)?;
    let console = &settings.console;
    console.line(format_args!("walker: {}", settings.walker));
    let outcome = run_in(&session, path, &wasm, invocation);
    if let Some(scratch) = session.directory().settle() {
        console.line(format_args!("files are in {}", scratch.display()));
    }
    let alive = session.finish();
    console.line(format_args!("alive: {alive}"));
    outcome?;
    match alive {
        0 => Ok(()),
        alive => Err(EngineError::StillAlive(alive)),
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
