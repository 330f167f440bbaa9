//! The limits of a store.

/// The limits of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of native stack below the outermost call that Wasm frames may occupy.
    ///
    /// In a store that interprets bytecode, no frame of Wasm lies there. The limit is then for
    /// calls that nest.
    ///
    /// The host leaves more stack free for host functions, collections and destructors. Stores
    /// whose calls nest on one stack need the sum of their stacks.
    pub stack_bytes: usize,
    /// Bytes of the interpreter's stack, in a store that interprets bytecode.
    pub interpreter_stack_bytes: usize,
    /// Initial slots of the activations table.
    pub table_slots_initial: usize,
    /// The most slots that the activations table may have.
    pub table_slots_maximum: usize,
    /// The most pages, of 64 KiB each, that one memory may have.
    pub max_memory_pages: u32,
    /// The most elements that one table may have.
    pub max_table_elements: u32,
    /// The most bytes that all memories and tables together may have.
    ///
    /// What a table allocates ahead of its growth counts. While one moves to grow, its old bytes
    /// exist beside the new ones, and do not count.
    pub max_bytes: usize,
}

impl Limits {
    /// A mebibyte of each stack, a gibibyte per memory, ten million elements per table, two
    /// gibibytes of both.
    pub const DEFAULT: Self = Self {
        stack_bytes: 1 << 20,
        interpreter_stack_bytes: 1 << 20,
        table_slots_initial: 512,
        table_slots_maximum: usize::MAX,
        max_memory_pages: 1 << 14,
        max_table_elements: 10_000_000,
        max_bytes: 1 << 31,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
