//! Constant expressions.

use crate::types::ValType;
use serde::{Deserialize, Serialize};

/// A constant expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConstExpr {
    /// A 32-bit integer.
    I32Const(i32),
    /// A 64-bit integer.
    I64Const(i64),
    /// The bits of a 32-bit float.
    F32Const(u32),
    /// The bits of a 64-bit float.
    F64Const(u64),
    /// A null reference of that type.
    RefNull(ValType),
    /// A reference to the function of that index.
    RefFunc(u32),
    /// The value of the imported, immutable global of that index.
    GlobalGet(u32),
}
