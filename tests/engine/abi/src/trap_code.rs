//! The numbers of traps.

use core::fmt;

/// Why a Wasm computation stopped.
///
/// Compiled code passes the number to the `raise` builtin. No trap has the number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum TrapCode {
    /// An `unreachable` instruction was executed.
    Unreachable = 1,
    /// An integer was divided by zero.
    IntegerDivideByZero = 2,
    /// The quotient, or the truncated float, does not fit its type.
    IntegerOverflow = 3,
    /// A NaN was truncated to an integer.
    InvalidConversionToInteger = 4,
    /// An access outside a linear memory.
    MemoryOutOfBounds = 5,
    /// An access outside a table.
    TableOutOfBounds = 6,
    /// `call_indirect` with an index outside its table.
    UndefinedElement = 7,
    /// `call_indirect` of a null reference.
    UninitializedElement = 8,
    /// `call_indirect` of a function of another type.
    IndirectCallTypeMismatch = 9,
    /// The stack limit was reached.
    StackOverflow = 10,
    /// A host function reported an error.
    Host = 11,
    /// The runtime is out of memory for its own records.
    OutOfMemory = 12,
}

impl TrapCode {
    /// Every code, in the order of the numbers.
    pub const ALL: [Self; 12] = [
        Self::Unreachable,
        Self::IntegerDivideByZero,
        Self::IntegerOverflow,
        Self::InvalidConversionToInteger,
        Self::MemoryOutOfBounds,
        Self::TableOutOfBounds,
        Self::UndefinedElement,
        Self::UninitializedElement,
        Self::IndirectCallTypeMismatch,
        Self::StackOverflow,
        Self::Host,
        Self::OutOfMemory,
    ];

    /// The number that compiled code uses.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The code of that number, if there is one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// The message that the specification's scripts expect.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::IntegerDivideByZero => "integer divide by zero",
            Self::IntegerOverflow => "integer overflow",
            Self::InvalidConversionToInteger => "invalid conversion to integer",
            Self::MemoryOutOfBounds => "out of bounds memory access",
            Self::TableOutOfBounds => "out of bounds table access",
            Self::UndefinedElement => "undefined element",
            Self::UninitializedElement => "uninitialized element",
            Self::IndirectCallTypeMismatch => "indirect call type mismatch",
            Self::StackOverflow => "call stack exhausted",
            Self::Host => "host error",
            Self::OutOfMemory => "out of memory",
        }
    }
}

impl fmt::Display for TrapCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

#[cfg(test)]
mod tests {
    use super::TrapCode;

    #[test]
    fn numbers_lead_back_to_their_codes() {
        for code in TrapCode::ALL {
            assert_eq!(TrapCode::from_number(code.number()), Some(code));
        }
        assert_eq!(TrapCode::from_number(0), None);
        assert_eq!(TrapCode::from_number(13), None);
    }
}
