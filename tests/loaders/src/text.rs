//! Modules and scripts in the text format.

use crate::counting::Bound;
use vmexternref_engine::assemble;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastDirective};

/// The parser keeps some hundred bytes for each token.
pub(crate) const MEMORY: Bound = Bound {
    fixed: 1 << 20,
    per_byte: 1024,
};

/// Reads any bytes as a module, and as a script.
pub fn read(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    if let Ok(wasm) = assemble(text) {
        assert!(wasm.starts_with(b"\0asm"), "a module has a header");
    }
    // What is wrong with it, its author has to know.
    let _ = script(text);
}

/// Reads a script with its modules.
fn script(text: &str) -> Result<(), wast::Error> {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer)?;
    for directive in parser::parse::<Wast<'_>>(&buffer)?.directives {
        let module: Option<QuoteWat<'_>> = match directive {
            WastDirective::Module(module) | WastDirective::ModuleDefinition(module) => Some(module),
            WastDirective::AssertInvalid { module, .. }
            | WastDirective::AssertMalformed { module, .. } => Some(module),
            _ => None,
        };
        if let Some(mut module) = module {
            // An invalid module is one that the script expects to be refused.
            let _ = module.encode();
        }
    }
    Ok(())
}
