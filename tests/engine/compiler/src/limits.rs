//! The limits of compilation.

use crate::error::CompileError;
use core::fmt;

/// The most that a module may have and ask of the compiler.
///
/// A larger module is refused with one line that says which limit it exceeds. Most limits count
/// what is in the module. The last three bound work that can grow faster than the module: see
/// [`Allowance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Bytes of the binary module.
    pub module_bytes: u64,
    /// Function types.
    pub types: u64,
    /// Imports.
    pub imports: u64,
    /// Functions that the module defines.
    pub functions: u64,
    /// Globals that the module defines.
    pub globals: u64,
    /// Exports.
    pub exports: u64,
    /// Element segments.
    pub elements: u64,
    /// Data segments.
    pub data: u64,
    /// Bytes of one function.
    pub function_bytes: u64,
    /// Locals of one function, without its parameters.
    pub locals: u64,
    /// Blocks, loops and conditions around one instruction.
    pub depth: u64,
    /// Operands that instructions take and leave.
    ///
    /// An instruction takes and leaves one more than its operands; one on elements of tables 16
    /// more, and one on globals 8. A branch table takes its operands once for each target. A loop
    /// also takes each local to which its function assigns, and each parameter that it reads. A
    /// function takes its parameters and leaves its results, and costs 24 more. So does each
    /// imported function, and twice each type that functions have or are called with.
    pub operands: Allowance,
    /// Live values, in the sum over all instructions.
    ///
    /// At each instruction these are the operand stack, the locals to which its function assigns,
    /// and the parameters that the function reads.
    pub live_values: Allowance,
    /// Live references, in the sum over all instructions.
    ///
    /// At each instruction these are the operand stack, and the same locals and parameters if they
    /// are of type `externref`.
    pub live_references: Allowance,
}

/// Operands that a function or a trampoline costs, apart from its own.
pub(crate) const PIECE: u64 = 24;

/// An amount of work for any module, and more for each byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// What a module of any size may need.
    pub fixed: u64,
    /// What it may need for each of its bytes.
    pub per_byte: u64,
}

impl Allowance {
    /// What a module of so many bytes may need.
    #[must_use]
    pub const fn of(&self, module_bytes: u64) -> u64 {
        self.fixed
            .saturating_add(self.per_byte.saturating_mul(module_bytes))
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, and {} per byte", self.fixed, self.per_byte)
    }
}

impl Default for CompileLimits {
    /// Limits under which a module of 50 KiB compiles within about two seconds.
    fn default() -> Self {
        Self {
            module_bytes: 1 << 26,
            types: 100_000,
            imports: 10_000,
            functions: 100_000,
            globals: 100_000,
            exports: 100_000,
            elements: 100_000,
            data: 100_000,
            function_bytes: 1 << 20,
            locals: 50_000,
            depth: 10_000,
            operands: Allowance {
                fixed: 1 << 18,
                per_byte: 4,
            },
            live_values: Allowance {
                fixed: 1 << 26,
                per_byte: 512,
            },
            live_references: Allowance {
                fixed: 1 << 24,
                per_byte: 64,
            },
        }
    }
}

impl CompileLimits {
    /// Each limit: the things that it counts, as errors name them, and how many there may be.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, String); 14] {
        let count = |count: u64| count.to_string();
        [
            ("bytes of a module", count(self.module_bytes)),
            ("types", count(self.types)),
            ("imports", count(self.imports)),
            ("functions", count(self.functions)),
            ("globals", count(self.globals)),
            ("exports", count(self.exports)),
            ("element segments", count(self.elements)),
            ("data segments", count(self.data)),
            ("bytes of a function", count(self.function_bytes)),
            ("locals of a function", count(self.locals)),
            ("nested blocks", count(self.depth)),
            ("operands", self.operands.to_string()),
            ("live values", self.live_values.to_string()),
            ("live references", self.live_references.to_string()),
        ]
    }
}

/// Refuses `found` things if there are more than `most`.
pub(crate) fn at_most(found: u64, most: u64, things: &str) -> Result<(), CompileError> {
    if found <= most {
        Ok(())
    } else {
        Err(CompileError::Limit(format!("more than {most} {things}")))
    }
}
