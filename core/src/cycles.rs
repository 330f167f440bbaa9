//! Freeing objects that only references among themselves keep alive.

mod boxes;
mod collection;
mod node;
mod report;
mod ring;
mod traced_box;
mod weak;

use crate::extern_ref::trace::Trace;
use crate::extern_ref::{OutOfMemory, VMExternRef};
use alloc::alloc::handle_alloc_error;
use boxes::Boxes;
use collection::Collection;
use core::any::Any;
use core::cell::Cell;
use core::fmt;
use core::ptr::NonNull;
pub use report::{CycleOutcome, CycleReport};
use traced_box::TracedKindOf;
pub use weak::WeakExternRef;

/// Makes boxes of values that can name their references, and frees cycles of them.
///
/// Counting cannot free objects that refer to each other. A collector can, if they are
/// [traced](Trace): the references to a box, less those that traced boxes own, are those from
/// outside, of frames, Wasm tables and globals, and the host. [`collect`](Self::collect) keeps the
/// boxes that have one from outside, and what these reach. It unlinks and releases all others.
///
/// Other boxes take no part and pay nothing. A traced box still dies with its last reference, as
/// every box does; a collection is for what that leaves over. One host context has one collector.
///
/// # Why that is sound
///
/// 1. A collection holds one reference to each box in it, so no box goes while it is looked at,
///    whatever a `trace`, an `unlink` or a destructor does.
/// 2. It never frees: it calls [`Trace::unlink`], and then gives up the references that it holds
///    itself.
/// 3. An object is dropped only when its count is zero, so one that was unlinked by mistake lives
///    as long as anything holds it.
///
/// # Cost
///
/// A collection visits each traced box and each of its references twice at most, and garbage once
/// more. It needs no memory, because its lists run through the boxes. It needs no deep stack: at
/// most 16 destructors that set each other off are under way at once, and the others wait. A traced
/// box is five words larger than another on 64-bit machines, and six on 32-bit ones. Programs that
/// make no collector link none of this.
///
/// # Examples
///
/// A doubly linked list, whose nodes keep each other alive:
///
/// ```
/// use core::cell::Cell;
/// use vmexternref_core::{CycleCollector, Trace, VMExternRef};
///
/// #[derive(Default)]
/// struct Node {
///     next: Cell<Option<VMExternRef>>,
///     previous: Cell<Option<VMExternRef>>,
/// }
///
/// impl Trace for Node {
///     fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
///         for link in [&self.next, &self.previous] {
///             let reference = link.take();
///             reference.iter().for_each(&mut *visit);
///             link.set(reference);
///         }
///     }
///
///     fn unlink(&self) {
///         self.next.take();
///         self.previous.take();
///     }
/// }
///
/// let collector = CycleCollector::new();
/// let [first, second] = [(); 2].map(|()| collector.new_traced(Node::default()));
/// first.downcast_ref::<Node>().unwrap().next.set(Some(second.clone()));
/// second.downcast_ref::<Node>().unwrap().previous.set(Some(first.clone()));
///
/// drop(first);
/// assert_eq!(collector.collect().freed, 0, "the second node holds the first");
/// drop(second);
/// assert_eq!(collector.collect().freed, 2);
/// ```
///
/// A closure that captures itself, as those of script languages do:
///
/// ```
/// use core::cell::RefCell;
/// use vmexternref_core::{CycleCollector, Trace, VMExternRef};
///
/// struct Closure {
///     code: fn(u64, &VMExternRef) -> u64,
///     captured: RefCell<Vec<VMExternRef>>,
/// }
///
/// impl Trace for Closure {
///     fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
///         if let Ok(captured) = self.captured.try_borrow() {
///             captured.iter().for_each(visit);
///         }
///     }
///
///     fn unlink(&self) {
///         drop(self.captured.take());
///     }
/// }
///
/// fn call(closure: &VMExternRef, argument: u64) -> u64 {
///     let closure = closure.downcast_ref::<Closure>().unwrap();
///     let itself = closure.captured.borrow()[0].clone();
///     (closure.code)(argument, &itself)
/// }
///
/// let collector = CycleCollector::new();
/// let factorial = collector.new_traced(Closure {
///     code: |n, itself| if n == 0 { 1 } else { n * call(itself, n - 1) },
///     captured: RefCell::default(),
/// });
/// let closure = factorial.downcast_ref::<Closure>().unwrap();
/// closure.captured.borrow_mut().push(factorial.clone());
/// assert_eq!(call(&factorial, 5), 120);
///
/// drop(factorial);
/// assert_eq!(collector.collect().freed, 1);
/// ```
///
/// # Dropping a collector
///
/// Dropping a collector collects once more. Boxes that are still held live on, and die with their
/// last reference; later cycles of them leak. So a host drops its tables first.
#[derive(Default)]
pub struct CycleCollector {
    boxes: Cell<Option<NonNull<Boxes>>>,
}

impl CycleCollector {
    /// A collector without boxes, which allocates nothing before it makes the first.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            boxes: Cell::new(None),
        }
    }

    /// Boxes `value` so that cycles through it can be collected.
    ///
    /// The box is one of a `T` in every respect, and gives out [weak
    /// references](VMExternRef::downgrade). Calls [`handle_alloc_error`] when out of memory; see
    /// [`try_new_traced`](Self::try_new_traced).
    #[must_use]
    pub fn new_traced<T: Trace + Any>(&self, value: T) -> VMExternRef {
        match self.try_new_traced(value) {
            Ok(reference) => reference,
            Err(OutOfMemory(_)) => handle_alloc_error(TracedKindOf::<T>::LAYOUT),
        }
    }

    /// Boxes `value` so that cycles through it can be collected, or gives it back.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`], with the value.
    pub fn try_new_traced<T: Trace + Any>(&self, value: T) -> Result<VMExternRef, OutOfMemory<T>> {
        match self.boxes_or_new() {
            // SAFETY: this collector keeps its boxes.
            Some(boxes) => unsafe { TracedKindOf::try_new(value, boxes) }.map_err(OutOfMemory),
            None => Err(OutOfMemory(value)),
        }
    }

    /// Frees the boxes that only references among the boxes of this collector keep alive.
    ///
    /// It walks no stack: references in frames are counted in the activations table. Collect the
    /// table first, so that it holds no box that frames have let go of. References from boxes of
    /// another collector count as references from outside.
    ///
    /// It traces, unlinks and drops values, and meanwhile each box has one or two references more.
    /// These methods and destructors may do anything. If they collect with the same collector, that
    /// does nothing, and says so. Nor does a collection during a walk of [`gc`](crate::gc) that has
    /// met one of its boxes.
    ///
    /// # Panics
    ///
    /// If a `trace`, an `unlink` or a destructor panics. If it is a `trace`, everything is kept.
    /// Otherwise boxes that were not unlinked yet are left for the next collection, and the others
    /// are released while the panic unwinds.
    pub fn collect(&self) -> CycleReport {
        let Some(boxes) = self.boxes() else {
            return CycleReport::new(CycleOutcome::Collected);
        };
        let Some(collection) = Collection::begin(boxes) else {
            return CycleReport::new(CycleOutcome::AlreadyCollecting);
        };
        let report = collection.run();
        if report.outcome == CycleOutcome::Collected && report.survivors == 0 {
            log::debug!("externref cycles: {report}");
        } else {
            log::warn!("externref cycles: {report}");
        }
        report
    }

    /// Whether enough boxes were made since the last collection for another to pay.
    ///
    /// A collection is due when there are twice as many boxes as the last one left, and at least
    /// 512, or more if they have many references. A host that asks after each box that it makes,
    /// and collects when one is due, pays a flat cost for each box.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.boxes().is_some_and(Boxes::is_due)
    }

    fn boxes(&self) -> Option<&Boxes> {
        // SAFETY: what the boxes share stays as long as this collector.
        self.boxes.get().map(|boxes| unsafe { boxes.as_ref() })
    }

    fn boxes_or_new(&self) -> Option<NonNull<Boxes>> {
        if self.boxes.get().is_none() {
            let new = Boxes::new()?;
            // The allocator may have made a box meanwhile.
            if self.boxes.get().is_none() {
                self.boxes.set(Some(new));
            } else {
                // SAFETY: they are new, and have no box.
                unsafe { Boxes::close(new) }
            }
        }
        self.boxes.get()
    }
}

impl Drop for CycleCollector {
    fn drop(&mut self) {
        let close = Close(self);
        close.0.collect();
    }
}

/// Closes a collector, also if its last collection panics.
struct Close<'c>(&'c CycleCollector);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        if let Some(boxes) = self.0.boxes.take() {
            // SAFETY: the collector goes.
            unsafe { Boxes::close(boxes) }
        }
    }
}

impl fmt::Debug for CycleCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CycleCollector")
            .field("boxes", &self.boxes().map_or(0, Boxes::len))
            .field("is_due", &self.is_due())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
