//! Local variables.

use cranelift_codegen::ir::Value;
use cranelift_frontend::Variable;

/// A local variable of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Local {
    /// It keeps the value that it starts with.
    Constant(Value),
    /// The function assigns to it.
    Variable(Variable),
}
