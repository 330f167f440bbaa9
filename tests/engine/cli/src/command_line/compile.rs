//! `compile`: compiles a module ahead of time, to an object file.

use crate::error::EngineError;
use crate::source::read_module;
use std::fs;
use std::path::Path;
use vmexternref_engine_abi::ObjectFile;
use vmexternref_engine_compiler::{CompileOptions, compile};

/// Compiles the module in the file `path`, and writes it to the object file `to`.
pub fn compile_module(path: &Path, to: &Path, options: &CompileOptions) -> Result<(), EngineError> {
    let wasm = read_module(path)?;
    let module = compile(&wasm, options).map_err(|source| EngineError::Compile {
        path: path.to_owned(),
        source,
    })?;
    let object = ObjectFile { module }.write();
    let object = object.map_err(|source| EngineError::ObjectFile {
        path: path.to_owned(),
        source,
    })?;
    fs::write(to, object).map_err(|source| EngineError::Write {
        path: to.to_owned(),
        source,
    })
}
