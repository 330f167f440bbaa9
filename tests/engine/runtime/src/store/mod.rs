//! The store: everything that instances share, and its collections.

mod collect;
mod limits;
mod loading;
mod stacks;
mod store_handle;
mod store_inner;
mod type_registry;

pub use limits::Limits;
pub use stacks::GuestStack;
pub use store_handle::{Store, WeakStore};
pub(crate) use store_inner::StoreInner;
