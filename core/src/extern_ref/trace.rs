//! What a value says of the references it owns.

use super::VMExternRef;

/// A value that can name and give up the references it owns.
///
/// A [`CycleCollector`](crate::CycleCollector) boxes such values, and frees those that only
/// references among themselves keep alive.
///
/// The trait is safe to implement wrongly. A `trace` that leaves a reference out leaks what is
/// behind it. One that names a reference it does not own can make a live value be unlinked, never
/// be freed; a collection that notices frees nothing and says so in its
/// [report](crate::CycleReport). Either method may panic, allocate, collect, make and drop boxes.
///
/// A value changes behind shared references, so it keeps its references in a `Cell` or `RefCell`.
/// It may be traced whenever the host collects; one that is borrowed just then names nothing, and
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
