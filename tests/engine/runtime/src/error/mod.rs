//! Why an operation of the host failed.

mod access_error;
mod call_error;
mod instantiate_error;
mod load_error;
mod out_of_bounds;
mod place_error;
mod trap;
mod wrong_store;

pub use access_error::AccessError;
pub use call_error::CallError;
pub use instantiate_error::InstantiateError;
pub use load_error::LoadError;
pub(crate) use out_of_bounds::{OutsideMemory, OutsideTable};
pub use place_error::PlaceError;
pub use trap::Trap;
pub(crate) use wrong_store::WrongStore;
