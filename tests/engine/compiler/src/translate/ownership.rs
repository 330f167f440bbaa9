//! Who keeps the object of an operand alive.
//!
//! A reference that was loaded from a table or a global is *pending*: it is inserted into the
//! activations table only before something could take it out of the place it came from, which is a
//! store, a call or a collection. Most references are used up before that, and are never inserted.
//!
//! | operand | what keeps its object alive |
//! | --- | --- |
//! | inserted | the activations table, or the caller of this function |
//! | borrowed | the element or the global that it was loaded from |
//! | owned | a count that was its global's, until another reference was stored there |
//!
//! At most two operands are pending, so that a collection that makes room for one has only one
//! other to keep. An owned operand is the only pending one, and only for instructions that cannot
//! trap: a trap would lose its count.

/// Operands that may be pending at a time.
pub(crate) const MOST_PENDING: usize = 2;

/// What keeps the object of an operand alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// An entry of the activations table, here or in a caller.
    Inserted,
    /// The place it was loaded from: the global of that index, or an element.
    Borrowed(Option<u32>),
    /// A count of its own.
    Owned,
}

/// An operand that is not inserted yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    /// The number of operands below it.
    pub(crate) height: usize,
    /// Borrowed or owned.
    pub(crate) ownership: Ownership,
}
