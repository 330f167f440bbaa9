//! Items that modules import and export, as the host holds them.

mod exports;
mod extern_item;
mod global;
mod memory;
mod table;

pub use extern_item::Extern;
pub use global::Global;
pub use memory::Memory;
pub use table::Table;
