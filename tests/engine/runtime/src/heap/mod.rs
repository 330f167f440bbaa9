//! Memory at addresses that compiled code may know.

mod arena;
mod buffer;
mod owned;

pub(crate) use arena::Arena;
pub(crate) use buffer::Buffer;
pub(crate) use owned::{Owned, try_collect};
