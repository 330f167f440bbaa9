//! Values of Wasm, and the names of things that a store owns.

mod func;
mod handle;
mod reference;
mod val;

pub use func::Func;
pub(crate) use handle::{Handle, StoreId, StoreIdentity};
pub(crate) use reference::Reference;
pub use val::Val;
