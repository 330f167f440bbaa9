//! Calls between the host and Wasm, in both directions.

mod builtins;
mod caller;
mod closure;
mod func_call;
mod invoke;

pub(crate) use builtins::BUILTINS;
pub use caller::Caller;
pub(crate) use invoke::invoke;
