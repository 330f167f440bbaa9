//! References that keep nothing alive.

use super::node::{Node, Standing};
use super::traced_box::give_up_weak;
use crate::extern_ref::{VMExternData, VMExternRef};
use core::fmt;
use core::ptr::NonNull;

/// A reference to a traced box that does not keep its value alive.
///
/// It keeps the memory of the box, as the `Weak` of an `Rc` does, and needs none of its own.
///
/// It is dead from the moment the last reference goes, or a collection finds the box to be garbage:
/// before the first destructor, and before anything is unlinked. So no destructor meets a value
/// that is about to go.
///
/// ```
/// use vmexternref_core::{CycleCollector, Trace, VMExternRef};
///
/// struct Leaf;
///
/// impl Trace for Leaf {
///     fn trace(&self, _: &mut dyn FnMut(&VMExternRef)) {}
///     fn unlink(&self) {}
/// }
///
/// let leaf = CycleCollector::new().new_traced(Leaf);
/// let weak = leaf.downgrade().unwrap();
/// assert!(weak.upgrade().is_some_and(|same| VMExternRef::eq(&same, &leaf)));
/// drop(leaf);
/// assert!(weak.upgrade().is_none());
/// assert!(VMExternRef::new(1).downgrade().is_none(), "it is not traced");
/// ```
pub struct WeakExternRef(NonNull<VMExternData>);

impl VMExternRef {
    /// A weak reference to this box; `None` if it is not a traced one.
    ///
    /// Boxes that [`CycleCollector::new_traced`](crate::CycleCollector::new_traced) made are.
    #[must_use]
    pub fn downgrade(&self) -> Option<WeakExternRef> {
        Node::of(self)?.weak.increment();
        Some(WeakExternRef(self.footer()))
    }
}

impl WeakExternRef {
    /// A reference to the box, if its value is still alive.
    #[inline]
    #[must_use]
    pub fn upgrade(&self) -> Option<VMExternRef> {
        if self.node().standing.get() == Standing::Garbage {
            return None;
        }
        // SAFETY: this weak reference keeps the box allocated.
        unsafe { VMExternRef::to_living(self.0) }
    }

    #[inline]
    fn node(&self) -> &Node {
        // SAFETY: only traced boxes have weak references, which keep them allocated.
        unsafe { Node::behind(self.0).as_ref() }
    }
}

impl Clone for WeakExternRef {
    fn clone(&self) -> Self {
        self.node().weak.increment();
        Self(self.0)
    }
}

impl Drop for WeakExternRef {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: it stands for one weak reference, and is not used again.
        unsafe { give_up_weak(self.0) }
    }
}

impl fmt::Debug for WeakExternRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WeakExternRef({:p})", self.0)
    }
}
