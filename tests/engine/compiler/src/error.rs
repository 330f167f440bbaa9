//! Why compiling a module failed.

use core::fmt;

/// Why compiling a module failed. Each message is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompileError {
    /// The module needs a feature that this engine does not have.
    Unsupported(String),
    /// The module is malformed or invalid.
    Invalid {
        /// The place, in bytes from the start of the module.
        offset: usize,
        /// The error there.
        message: String,
    },
    /// The compiler does not support the machine.
    Target(String),
    /// The module exceeds a limit of this compiler.
    Limit(String),
    /// The code generator failed.
    Backend(String),
}

impl CompileError {
    /// An error of the code generator or the object writer.
    pub(crate) fn backend(error: impl fmt::Display) -> Self {
        Self::Backend(error.to_string())
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(feature) => write!(f, "unsupported: {feature}"),
            Self::Invalid { offset, message } => {
                write!(f, "invalid module: {message} (at offset {offset:#x})")
            }
            Self::Target(why) => write!(f, "cannot compile for this target: {why}"),
            Self::Limit(what) => write!(f, "limit exceeded: {what}"),
            Self::Backend(why) => write!(f, "code generation failed: {why}"),
        }
    }
}

impl core::error::Error for CompileError {}

impl From<wasmparser::Error> for CompileError {
    fn from(error: wasmparser::Error) -> Self {
        Self::Invalid {
            offset: error.offset(),
            message: error.message().replace('\n', " "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CompileError;

    #[test]
    fn every_error_is_one_line() {
        let errors = [
            CompileError::Unsupported("SIMD".into()),
            CompileError::Invalid {
                offset: 16,
                message: "type mismatch".into(),
            },
            CompileError::Target("no SSE4.1".into()),
            CompileError::Limit("text".into()),
            CompileError::Backend("verifier".into()),
        ];
        for error in errors {
            assert_eq!(error.to_string().lines().count(), 1, "{error:?}");
        }
    }
}
