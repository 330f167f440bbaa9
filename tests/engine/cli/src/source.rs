//! Reads modules from files, as text or binary.

use crate::error::EngineError;
use std::fs;
use std::path::Path;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};

/// The first bytes of every binary module.
const BINARY_MAGIC: &[u8] = b"\0asm";

/// The binary form of the module in the file `path`, which is text or binary.
pub fn read_module(path: &Path) -> Result<Vec<u8>, EngineError> {
    let bytes = read(path)?;
    if bytes.starts_with(BINARY_MAGIC) {
        return Ok(bytes);
    }
    let text = String::from_utf8(bytes).map_err(|_| EngineError::NeitherTextNorBinary {
        path: path.to_owned(),
    })?;
    assemble(&text).map_err(|error| EngineError::text(path, &text, &error))
}

/// The bytes of the file `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, EngineError> {
    fs::read(path).map_err(|source| EngineError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Translates a module from text to binary.
pub fn assemble(text: &str) -> Result<Vec<u8>, wast::Error> {
    let buffer = tokens(text)?;
    parser::parse::<wast::Wat<'_>>(&buffer)?.encode()
}

/// The tokens of `text`. Strings may hold any Unicode character.
pub(crate) fn tokens(text: &str) -> Result<ParseBuffer<'_>, wast::Error> {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    ParseBuffer::new_with_lexer(lexer)
}
