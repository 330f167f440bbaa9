//! Items of any kind.

use crate::error::AccessError;
use crate::external::global::Global;
use crate::external::memory::Memory;
use crate::external::table::Table;
use crate::store::{Store, StoreInner};
use crate::value::Func;
use vmexternref_engine_abi::ExternType;

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
    /// Its type; minima are current sizes.
    ///
    /// # Errors
    ///
    /// When it belongs to another store, or there is no memory.
    pub fn ty(&self, store: &Store) -> Result<ExternType, AccessError> {
        self.type_in(store.inner())
    }

    /// Its type; minima are current sizes.
    pub(crate) fn type_in(&self, store: &StoreInner) -> Result<ExternType, AccessError> {
        let identity = store.identity();
        Ok(match self {
            Self::Func(func) => {
                let func = func.0.resolve(identity)?;
                ExternType::Func(store.type_of(func).try_clone()?)
            }
            Self::Table(table) => ExternType::Table(table.0.resolve(identity)?.ty()),
            Self::Memory(memory) => ExternType::Memory(memory.0.resolve(identity)?.ty()),
            Self::Global(global) => ExternType::Global(global.0.resolve(identity)?.ty()),
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
