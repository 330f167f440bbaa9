//! How return addresses are matched with safepoints.

/// How return addresses are matched with the safepoints of a module.
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
