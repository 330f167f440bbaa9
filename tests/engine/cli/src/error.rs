//! Why a command failed.

use crate::session::walker_kind::WalkerKind;
use core::fmt;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use vmexternref_engine_abi::WriteError;
use vmexternref_engine_compiler::CompileError;
use vmexternref_engine_runtime::{AccessError, CallError, InstantiateError, LoadError, ValType};

/// Why a command failed. Each error is one line of text.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineError {
    /// A file or folder could not be read.
    Read {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file could not be written.
    Write {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not UTF-8 and does not start like a binary module.
    NeitherTextNorBinary {
        /// Its path.
        path: PathBuf,
    },
    /// The text of a module is malformed.
    Text {
        /// The path of the file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The parser's message.
        message: String,
    },
    /// The module was not compiled.
    Compile {
        /// The path of the file.
        path: PathBuf,
        /// The compiler's error.
        source: CompileError,
    },
    /// The compiled module cannot be an object file.
    ObjectFile {
        /// The path of the file.
        path: PathBuf,
        /// The reason.
        source: WriteError,
    },
    /// The compiler does not know the target machine.
    Target(CompileError),
    /// The machine code was not loaded.
    Load(LoadError),
    /// The module was not instantiated.
    Instantiate(InstantiateError),
    /// The host could not be set up.
    Host(AccessError),
    /// There is no export of that name.
    UnknownExport(String),
    /// The export of that name is not a function.
    NotAFunction(String),
    /// The number of arguments differs from the number of parameters.
    ArgumentCount {
        /// The name of the function.
        name: String,
        /// The number of parameters.
        expected: usize,
        /// The number of arguments.
        found: usize,
    },
    /// An argument is not a value of the parameter's type.
    Argument {
        /// The argument.
        text: String,
        /// The type of the parameter.
        expected: ValType,
    },
    /// The call trapped or was refused.
    Call(CallError),
    /// The current-frame walker was chosen in a program without frame pointers.
    NoFramePointers,
    /// A walker that finds only native frames was chosen for an interpreter.
    NativeWalker(WalkerKind),
    /// The thread for guests could not be started.
    NoThread(io::Error),
    /// The engine itself panicked.
    HostPanic(String),
    /// Host objects outlived the store.
    StillAlive(u64),
    /// The folder has no script.
    NoScripts(PathBuf),
}

impl EngineError {
    /// Locates an error of the text parser in `text`, the contents of the file `path`.
    pub fn text(path: &Path, text: &str, error: &wast::Error) -> Self {
        let (line, column) = error.span().linecol_in(text);
        Self::Text {
            path: path.to_owned(),
            line: line + 1,
            column: column + 1,
            message: error.message(),
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Write { path, source } => write!(f, "cannot write {}: {source}", path.display()),
            Self::NeitherTextNorBinary { path } => {
                write!(f, "{}: neither text nor a binary module", path.display())
            }
            Self::Text {
                path,
                line,
                column,
                message,
            } => write!(
                f,
                "{}:{line}:{column}: malformed text: {message}",
                path.display()
            ),
            Self::Compile { path, source } => write!(f, "{}: {source}", path.display()),
            Self::ObjectFile { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Target(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
            Self::Instantiate(InstantiateError::Trap(trap)) => {
                write!(f, "trap while instantiating: {trap}")
            }
            Self::Instantiate(error) => error.fmt(f),
            Self::Host(error) => write!(f, "cannot set up the host: {error}"),
            Self::UnknownExport(name) => write!(f, "unknown export {name:?}"),
            Self::NotAFunction(name) => write!(f, "the export {name:?} is not a function"),
            Self::ArgumentCount {
                name,
                expected,
                found,
            } => write!(
                f,
                "wrong number of arguments for {name:?}: expected {expected}, found {found}"
            ),
            Self::Argument { text, expected } => {
                write!(
                    f,
                    "wrong argument {text:?}: expected a value of type {expected}"
                )
            }
            Self::Call(CallError::Trap(trap)) => write!(f, "trap: {trap}"),
            Self::Call(error) => error.fmt(f),
            Self::NoFramePointers => f.write_str(
                "the current-frame walker needs a host with frame pointers: \
                 build this program with `-C force-frame-pointers=yes`",
            ),
            Self::NativeWalker(walker) => write!(
                f,
                "the {walker} walker does not see the frames of an interpreter: \
                 use --walker {}",
                WalkerKind::Activations
            ),
            Self::NoThread(error) => write!(f, "cannot start the thread for guests: {error}"),
            Self::HostPanic(message) => write!(f, "internal error: {message}"),
            Self::StillAlive(count) => {
                write!(f, "{count} host objects are alive after the store is gone")
            }
            Self::NoScripts(path) => write!(f, "no .wast file in {}", path.display()),
        }
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } | Self::NoThread(source) => {
                Some(source)
            }
            Self::Compile { source, .. } | Self::Target(source) => Some(source),
            Self::ObjectFile { source, .. } => Some(source),
            Self::Load(source) => Some(source),
            Self::Instantiate(source) => Some(source),
            Self::Host(source) => Some(source),
            Self::Call(source) => Some(source),
            _ => None,
        }
    }
}

impl From<LoadError> for EngineError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl From<InstantiateError> for EngineError {
    fn from(error: InstantiateError) -> Self {
        Self::Instantiate(error)
    }
}

impl From<AccessError> for EngineError {
    fn from(error: AccessError) -> Self {
        Self::Host(error)
    }
}

impl From<CallError> for EngineError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}
