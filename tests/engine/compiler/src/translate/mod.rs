//! The translation of function bodies.

mod call;
mod control;
mod conversion;
mod frame;
mod function;
mod global;
mod local;
mod memory;
mod numeric;
mod ownership;
mod pending;
mod reference;
mod table;
mod translator;
mod traps;

pub(crate) use function::translate;
