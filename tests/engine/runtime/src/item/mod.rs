//! Items that a store owns, as compiled code and the runtime use them.

mod const_scope;
mod global_item;
mod host_func;
mod instance_item;
mod memory_item;
mod segments;
mod table_item;

pub(crate) use const_scope::ConstScope;
pub(crate) use global_item::GlobalItem;
pub(crate) use host_func::HostFunc;
pub(crate) use instance_item::{InstanceItem, Parts};
pub(crate) use memory_item::MemoryItem;
pub(crate) use table_item::TableItem;
