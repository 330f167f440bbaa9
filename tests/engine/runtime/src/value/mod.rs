//! Values of Wasm, and names of items that a store owns.

mod func;
mod handle;
mod reference;
mod val;

pub use func::Func;
pub(crate) use handle::{Handle, StoreId, StoreIdentity};
pub(crate) use reference::Reference;
pub use val::Val;
