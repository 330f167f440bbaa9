//! Reading Wasm binaries.

mod metadata;
mod shape;
mod survey;
mod usage;
mod validate;

pub(crate) use metadata::{Metadata, item, read, unexpected, val_type};
pub(crate) use survey::survey;
pub(crate) use usage::{LocalUse, Usage};
pub(crate) use validate::validate;
