//! Calls between the host and Wasm, in both directions.

mod builtins;
mod caller;
mod closure;
mod func_call;
mod host_calls;
mod invoke;

pub use caller::Caller;
pub(crate) use host_calls::BUILTINS;
pub(crate) use invoke::invoke;
