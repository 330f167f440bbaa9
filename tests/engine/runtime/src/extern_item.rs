//! Whatever an instance imports or exports.

use vmexternref_engine_abi::ExternType;

use crate::error::AccessError;
use crate::func::Func;
use crate::global::Global;
use crate::memory::Memory;
use crate::store::Store;
use crate::table::Table;

/// A function, table, memory or global of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A table.
    Table(Table),
    /// A linear memory.
    Memory(Memory),
    /// A global.
    Global(Global),
}

impl Extern {
    /// Its type, with present sizes for minima.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: &Store) -> Result<ExternType, AccessError> {
        Ok(match self {
            Self::Func(func) => ExternType::Func(func.ty(store)?),
            Self::Table(table) => ExternType::Table(table.ty(store)?),
            Self::Memory(memory) => ExternType::Memory(memory.ty(store)?),
            Self::Global(global) => ExternType::Global(global.ty(store)?),
        })
    }

    /// The function, if it is one.
    #[must_use]
    pub const fn into_func(self) -> Option<Func> {
        match self {
            Self::Func(func) => Some(func),
            _ => None,
        }
    }

    /// The table, if it is one.
    #[must_use]
    pub const fn into_table(self) -> Option<Table> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The memory, if it is one.
    #[must_use]
    pub const fn into_memory(self) -> Option<Memory> {
        match self {
            Self::Memory(memory) => Some(memory),
            _ => None,
        }
    }

    /// The global, if it is one.
    #[must_use]
    pub const fn into_global(self) -> Option<Global> {
        match self {
            Self::Global(global) => Some(global),
            _ => None,
        }
    }
}

impl From<Func> for Extern {
    fn from(func: Func) -> Self {
        Self::Func(func)
    }
}

impl From<Table> for Extern {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

impl From<Memory> for Extern {
    fn from(memory: Memory) -> Self {
        Self::Memory(memory)
    }
}

impl From<Global> for Extern {
    fn from(global: Global) -> Self {
        Self::Global(global)
    }
}
