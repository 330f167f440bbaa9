//! The limits of a store.

/// How much of the machine one store may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of native stack below the outermost call that Wasm frames may occupy.
    ///
    /// What host functions, collections and destructors need comes on top and is the host's to leave free. Stores
    /// whose calls nest on one stack need the sum of theirs.
    pub stack_bytes: usize,
    /// Slots that the activations table starts with.
    pub table_slots_initial: usize,
    /// Slots that the activations table may grow to.
    pub table_slots_maximum: usize,
    /// Pages of 64 KiB that one memory may have.
    pub max_memory_pages: u32,
    /// Elements that one table may have.
    pub max_table_elements: u32,
}

impl Default for Limits {
    /// A mebibyte of stack, a gibibyte a memory, ten million elements a table.
    fn default() -> Self {
        Self {
            stack_bytes: 1 << 20,
            table_slots_initial: 512,
            table_slots_maximum: usize::MAX,
            max_memory_pages: 1 << 14,
            max_table_elements: 10_000_000,
        }
    }
}
