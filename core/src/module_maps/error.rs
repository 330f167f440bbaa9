//! Why a module was rejected.

use crate::stack_map::StackMapError;
use core::fmt;

/// Why a module cannot be registered. The registry is as it was before.
///
/// ```
/// use vmexternref_core::{Matching, ModuleStackMaps, RegisterError};
///
/// let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
/// assert_eq!(module.function(0xf0..0x110), Err(RegisterError::OutsideCode));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The code, or a function, has no bytes.
    EmptyRange,
    /// A function lies outside the module's code.
    OutsideCode,
    /// Two functions of the module overlap.
    OverlappingFunctions,
    /// A safepoint, or a return address, lies outside every function.
    OutsideFunctions,
    /// One code offset has two different maps.
    ConflictingSafepoints,
    /// The code overlaps that of another registered module.
    OverlappingCode,
    /// The code would reach beyond the address space.
    AddressOverflow,
    /// The stack-map section is not one.
    MalformedSection,
    /// Return addresses were declared of a module that matches [where calls
    /// begin](crate::Matching::NearestPreceding).
    NotReturnAddresses,
    /// A stack map in the section is not one.
    StackMap(StackMapError),
    /// There was no memory.
    OutOfMemory,
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyRange => "a range of code is empty",
            Self::OutsideCode => "a function lies outside its module's code",
            Self::OverlappingFunctions => "two functions overlap",
            Self::OutsideFunctions => "a safepoint lies outside every function",
            Self::ConflictingSafepoints => "a code offset has two different stack maps",
            Self::OverlappingCode => "the code overlaps another registered module",
            Self::AddressOverflow => "the code reaches beyond the address space",
            Self::MalformedSection => "the stack-map section is malformed",
            Self::NotReturnAddresses => "the module does not match return addresses",
            Self::StackMap(error) => return write!(f, "a stack map is wrong: {error}"),
            Self::OutOfMemory => "out of memory",
        })
    }
}

impl core::error::Error for RegisterError {}

impl From<StackMapError> for RegisterError {
    fn from(error: StackMapError) -> Self {
        match error {
            StackMapError::OutOfMemory => Self::OutOfMemory,
            other => Self::StackMap(other),
        }
    }
}
