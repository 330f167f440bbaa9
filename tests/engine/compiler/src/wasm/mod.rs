//! Reading Wasm binaries.

mod metadata;
mod validate;

pub(crate) use metadata::{Metadata, item, read, unexpected, val_type};
pub(crate) use validate::validate;
