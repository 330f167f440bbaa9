//! How return addresses are matched with safepoints.

/// How return addresses are matched with the safepoints of a module.
///
/// ```
/// use vmexternref_core::{Matching, ModuleStackMaps, StackMap};
///
/// // A call of 5 bytes at 0x1f, which returns to 0x24.
/// let mut today = ModuleStackMaps::new(0x100, Matching::Exact);
/// today.function(0..0x100)?;
/// today.safepoint(0x24, StackMap::new(Some(6), [1])?)?;
///
/// let mut older = ModuleStackMaps::new(0x100, Matching::NearestPreceding);
/// older.function(0..0x100)?;
/// older.safepoint(0x1f, StackMap::new(Some(6), [1])?)?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matching {
    /// The producer recorded return addresses, as today's Cranelift does.
    ///
    /// A return address without a safepoint has no live references.
    Exact,
    /// The producer recorded where each call begins, as older Cranelifts did.
    ///
    /// A return address belongs to the last safepoint before it in the same
    /// function; before the first one nothing is live. A call with no live
    /// references must have a safepoint too, with an empty map.
    NearestPreceding,
}
