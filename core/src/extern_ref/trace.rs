//! What a value says of the references it owns.

use super::VMExternRef;

/// A value that can name and give up the references it owns.
///
/// A [`CycleCollector`](crate::CycleCollector) boxes such values, and frees those that only
/// references among themselves keep alive.
///
/// A wrong implementation is safe. A `trace` that leaves a reference out leaks what is behind it. A
/// `trace` that names a reference which its value does not own can make a live value be unlinked,
/// but never be freed. A collection that notices frees nothing and says so in its
/// [report](crate::CycleReport). Either method may panic, allocate, collect, make and drop boxes.
///
/// Both methods take `&self`, so a value keeps its references in a `Cell` or `RefCell`. It may be
/// traced whenever the host collects. A value that is borrowed at that time names nothing, and
/// lives until the next collection:
///
/// ```
/// use core::cell::RefCell;
/// use vmexternref_core::{Trace, VMExternRef};
///
/// struct Node {
///     links: RefCell<Vec<VMExternRef>>,
/// }
///
/// impl Trace for Node {
///     fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
///         if let Ok(links) = self.links.try_borrow() {
///             links.iter().for_each(visit);
///         }
///     }
///
///     fn unlink(&self) {
///         // Taken first, so that nothing is borrowed while references are dropped.
///         drop(self.links.take());
///     }
/// }
/// ```
pub trait Trace {
    /// Visits each reference that this value owns, as often as it owns it.
    ///
    /// The value owns a reference if dropping the value drops it. One behind an `Rc` that others
    /// share is not owned.
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef));

    /// Gives up each reference that [`trace`](Self::trace) visits.
    ///
    /// It is called when nobody can reach the value any more, and before any destructor of the
    /// values that die with it. The value's own destructor follows.
    fn unlink(&self);
}
