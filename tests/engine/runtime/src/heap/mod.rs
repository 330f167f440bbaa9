//! Memory at addresses that compiled code may know.

mod arena;
mod budget;
mod buffer;
mod fallible;
mod owned;
mod shared;

pub(crate) use arena::Arena;
pub(crate) use budget::Budget;
pub(crate) use buffer::{Buffer, NotGrown};
pub use fallible::try_box;
pub(crate) use fallible::{try_push, try_reserve, try_to_string, try_with_capacity};
pub(crate) use owned::{Owned, try_collect};
pub(crate) use shared::{Shared, Weak};
