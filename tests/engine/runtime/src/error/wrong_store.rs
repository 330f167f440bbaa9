//! The error for items of another store.

/// The item belongs to another store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongStore;
