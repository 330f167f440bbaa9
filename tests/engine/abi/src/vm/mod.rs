//! The structures that compiled code reads and writes while it runs.

mod layout;
mod vm_context;
mod vm_func;
mod vm_host_func;
mod vm_item;

pub use layout::VMOffsets;
pub use vm_context::{VMContext, VMStoreContext};
pub use vm_func::{VMFuncImport, VMFuncRef};
pub use vm_host_func::{RawHostFn, VMHostFunc};
pub use vm_item::{VMGlobal, VMMemory, VMTable};
