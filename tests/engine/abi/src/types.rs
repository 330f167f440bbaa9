//! The types of values and of everything that a module imports or exports.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};
use vmexternref_core::OutOfMemory;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ValType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A reference to a function, or null.
    FuncRef,
    /// A reference to a host object, or null.
    ExternRef,
}

impl ValType {
    /// Whether values of the type are references.
    #[must_use]
    pub const fn is_ref(self) -> bool {
        matches!(self, Self::FuncRef | Self::ExternRef)
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::FuncRef => "funcref",
            Self::ExternRef => "externref",
        })
    }
}

/// The type of a function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FuncType {
    /// The types of the parameters.
    pub params: Box<[ValType]>,
    /// The types of the results.
    pub results: Box<[ValType]>,
}

impl FuncType {
    /// A type with these parameters and results.
    pub fn new(
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Self {
        Self {
            params: params.into_iter().collect(),
            results: results.into_iter().collect(),
        }
    }

    /// A type with these parameters and results, without aborting.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn try_new(params: &[ValType], results: &[ValType]) -> Result<Self, OutOfMemory> {
        Ok(Self {
            params: try_copy(params)?,
            results: try_copy(results)?,
        })
    }

    /// A copy, without aborting.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn try_clone(&self) -> Result<Self, OutOfMemory> {
        Self::try_new(&self.params, &self.results)
    }

    /// The number of slots, of eight bytes each, that a call through a trampoline uses.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.params.len().max(self.results.len())
    }
}

fn try_copy(types: &[ValType]) -> Result<Box<[ValType]>, OutOfMemory> {
    let mut copy = Vec::new();
    let reserved = copy.try_reserve_exact(types.len());
    reserved.map_err(|_| OutOfMemory(()))?;
    copy.extend_from_slice(types);
    Ok(copy.into_boxed_slice())
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, types: &[ValType]| {
            f.write_str("[")?;
            for (index, ty) in types.iter().enumerate() {
                write!(f, "{}{ty}", if index == 0 { "" } else { " " })?;
            }
            f.write_str("]")
        };
        list(f, &self.params)?;
        f.write_str(" -> ")?;
        list(f, &self.results)
    }
}

/// The type of a table; sizes in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableType {
    /// `FuncRef` or `ExternRef`.
    pub element: ValType,
    /// The initial size.
    pub minimum: u32,
    /// The size that it must not exceed.
    pub maximum: Option<u32>,
}

impl TableType {
    /// Whether a module may have such a table.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.element.is_ref() && in_order(self.minimum, self.maximum)
    }
}

/// The type of a linear memory; sizes in pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryType {
    /// The initial size.
    pub minimum: u32,
    /// The size that it must not exceed.
    pub maximum: Option<u32>,
}

impl MemoryType {
    /// Bytes in a page.
    pub const PAGE_BYTES: u32 = 1 << 16;
    /// Pages that a 32-bit address reaches.
    pub const MAX_PAGES: u32 = 1 << 16;

    /// Whether a module may have such a memory.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.minimum <= Self::MAX_PAGES && in_order(self.minimum, self.maximum)
    }
}

fn in_order(minimum: u32, maximum: Option<u32>) -> bool {
    maximum.is_none_or(|maximum| minimum <= maximum)
}

/// The type of a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalType {
    /// The type of its value.
    pub value: ValType,
    /// Whether the value may change.
    pub mutable: bool,
}

/// The type of an import or export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A table.
    Table(TableType),
    /// A linear memory.
    Memory(MemoryType),
    /// A global.
    Global(GlobalType),
}

fn write_limits(f: &mut fmt::Formatter<'_>, minimum: u32, maximum: Option<u32>) -> fmt::Result {
    write!(f, "{minimum}")?;
    maximum.map_or(Ok(()), |maximum| write!(f, " {maximum}"))
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Func(ty) => write!(f, "func {ty}"),
            Self::Table(ty) => {
                f.write_str("table ")?;
                write_limits(f, ty.minimum, ty.maximum)?;
                write!(f, " {}", ty.element)
            }
            Self::Memory(ty) => {
                f.write_str("memory ")?;
                write_limits(f, ty.minimum, ty.maximum)
            }
            Self::Global(ty) if ty.mutable => write!(f, "global (mut {})", ty.value),
            Self::Global(ty) => write!(f, "global {}", ty.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ExternType, FuncType, GlobalType, TableType, ValType};
    use alloc::string::ToString;

    #[test]
    fn types_read_like_the_text_format() {
        let func = FuncType::new([ValType::I32, ValType::ExternRef], [ValType::F64]);
        assert_eq!(
            ExternType::Func(func).to_string(),
            "func [i32 externref] -> [f64]"
        );
        let table = TableType {
            element: ValType::FuncRef,
            minimum: 1,
            maximum: Some(2),
        };
        assert_eq!(ExternType::Table(table).to_string(), "table 1 2 funcref");
        let global = GlobalType {
            value: ValType::I64,
            mutable: true,
        };
        assert_eq!(ExternType::Global(global).to_string(), "global (mut i64)");
    }
}
