//! How return addresses are matched with safepoints.

/// How return addresses are matched with the safepoints of a module.
///
/// ```
/// use vmexternref_core::{Matching, ModuleStackMaps, StackMap};
///
/// // A call of 5 bytes at 0x1f, which returns to 0x24; and one that returns to 0x30, where nothing
/// // is live.
/// let mut today = ModuleStackMaps::new(0x100, Matching::Strict);
/// today.function(0..0x100)?;
/// today.safepoint(0x24, StackMap::new(Some(6), [1])?)?;
/// today.return_address(0x30)?;
///
/// let mut without_empty_ones = ModuleStackMaps::new(0x100, Matching::Exact);
/// without_empty_ones.function(0..0x100)?;
/// without_empty_ones.safepoint(0x24, StackMap::new(Some(6), [1])?)?;
///
/// let mut older = ModuleStackMaps::new(0x100, Matching::NearestPreceding);
/// older.function(0..0x100)?;
/// older.safepoint(0x1f, StackMap::new(Some(6), [1])?)?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matching {
    /// The producer recorded the return address of every call, also of those at which nothing is
    /// live. Take this one where the producer can.
    ///
    /// A frame at any other return address of a Wasm function shows that the stack maps are wrong,
    /// or lie at wrong offsets: a collection keeps everything, and reports
    /// [`KeptUndeclared`](crate::GcOutcome::KeptUndeclared).
    Strict,
    /// The producer recorded return addresses, but only those at which something is live, as the
    /// `.wasmtime.stackmap` section does.
    ///
    /// A return address without a safepoint has no live references. So a safepoint that was
    /// forgotten, or lies at a wrong offset, goes unnoticed, and what is live there is freed.
    Exact,
    /// The producer recorded where each call begins, as older Cranelifts did.
    ///
    /// A return address belongs to the last safepoint before it in the same
    /// function; before the first one nothing is live. A call with no live
    /// references must have a safepoint too, with an empty map.
    NearestPreceding,
}
