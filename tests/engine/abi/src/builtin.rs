//! The runtime functions that compiled code may call, and their signatures.

/// A runtime function that compiled code calls through its builtin trampoline.
///
/// The number indexes [`VMContext::builtins`](crate::VMContext::builtins). Every function has the
/// machine's `extern "C"` convention. Its first parameter is the `vmctx` of the calling Wasm
/// function, then follow [`params`](Self::params). A function that can trap returns the number of a
/// [`TrapCode`](crate::TrapCode), or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Builtin {
    /// `raise(code) -> !`: records a trap and resumes at the handler.
    Raise = 0,
    /// `resume_trap() -> !`: resumes at the handler. A host function has recorded the trap.
    ResumeTrap = 1,
    /// `insert_ref(raw, kept raw, owned)`: inserts a reference, not null, into the activations
    /// table.
    ///
    /// It collects first, and keeps the second reference alive meanwhile. If `owned` is not 0, it
    /// takes over the caller's count of the first one, even if it traps.
    InsertRef = 2,
    /// `drop_ref(raw)`: destroys the value of a reference whose count is already 0.
    DropRef = 3,
    /// `zeal()`: collects.
    Zeal = 4,
    /// `memory_grow(memory, delta) -> old pages or -1`.
    MemoryGrow = 5,
    /// `memory_copy(to memory, from memory, to, from, count) -> trap`.
    MemoryCopy = 6,
    /// `memory_fill(memory, to, byte, count) -> trap`.
    MemoryFill = 7,
    /// `memory_init(memory, segment, to, from, count) -> trap`.
    MemoryInit = 8,
    /// `data_drop(segment)`.
    DataDrop = 9,
    /// `table_grow(table, initial raw, delta) -> old elements or -1`.
    TableGrow = 10,
    /// `table_fill(table, to, raw, count) -> trap`.
    TableFill = 11,
    /// `table_copy(to table, from table, to, from, count) -> trap`.
    TableCopy = 12,
    /// `table_init(table, segment, to, from, count) -> trap`.
    TableInit = 13,
    /// `elem_drop(segment)`.
    ElemDrop = 14,
}

/// The machine type of a builtin's parameter or result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuiltinType {
    /// 32 bits, extended as the machine's C convention requires (riscv64 sign-extends).
    I32,
    /// A raw reference of the size of a pointer; null is 0.
    Ref,
}

impl Builtin {
    /// Every builtin, in the order of the numbers.
    pub const ALL: [Self; 15] = [
        Self::Raise,
        Self::ResumeTrap,
        Self::InsertRef,
        Self::DropRef,
        Self::Zeal,
        Self::MemoryGrow,
        Self::MemoryCopy,
        Self::MemoryFill,
        Self::MemoryInit,
        Self::DataDrop,
        Self::TableGrow,
        Self::TableFill,
        Self::TableCopy,
        Self::TableInit,
        Self::ElemDrop,
    ];

    /// The number, which is the index in the array of addresses.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The types of the parameters after `vmctx`.
    #[must_use]
    pub const fn params(self) -> &'static [BuiltinType] {
        use BuiltinType::{I32, Ref};
        match self {
            Self::ResumeTrap | Self::Zeal => &[],
            Self::Raise | Self::DataDrop | Self::ElemDrop => &[I32],
            Self::InsertRef => &[Ref, Ref, I32],
            Self::DropRef => &[Ref],
            Self::MemoryGrow => &[I32, I32],
            Self::MemoryFill => &[I32, I32, I32, I32],
            Self::MemoryCopy | Self::MemoryInit | Self::TableCopy | Self::TableInit => {
                &[I32, I32, I32, I32, I32]
            }
            Self::TableGrow => &[I32, Ref, I32],
            Self::TableFill => &[I32, I32, Ref, I32],
        }
    }

    /// The type of the result, if there is one.
    #[must_use]
    pub const fn result(self) -> Option<BuiltinType> {
        match self {
            Self::MemoryGrow
            | Self::MemoryCopy
            | Self::MemoryFill
            | Self::MemoryInit
            | Self::TableGrow
            | Self::TableFill
            | Self::TableCopy
            | Self::TableInit => Some(BuiltinType::I32),
            _ => None,
        }
    }

    /// Whether the builtin never returns to compiled code.
    #[must_use]
    pub const fn diverges(self) -> bool {
        matches!(self, Self::Raise | Self::ResumeTrap)
    }
}

#[cfg(test)]
mod tests {
    use super::Builtin;

    #[test]
    fn numbers_are_indices() {
        for (index, builtin) in (0..).zip(Builtin::ALL) {
            assert_eq!(builtin.number(), index);
        }
    }
}
