//! The traced boxes of one collector.

use super::ring::{Held, Ring};
use crate::extern_ref::DeadBox;
use crate::garbage::Garbage;
use crate::try_box::try_box;
use alloc::boxed::Box;
use core::cell::Cell;
use core::ptr::NonNull;

/// Boxes for which no collection is due.
const INITIAL: usize = 512;

/// References visited for which as many boxes may be made as one.
const REFERENCES_PER_BOX: usize = 4;

/// Destructors of traced boxes that may be under way in each other.
///
/// Those of deeper ones wait until the outermost ends, so that a long chain of objects needs no
/// deep stack.
const DEEPEST: usize = 16;

/// What the boxes of one collector share; it goes with the last of them and the collector.
pub(super) struct Boxes {
    /// Every box that is alive and is no part of a collection.
    pub(super) all: Ring,
    /// Boxes that are allocated, dead ones that wait for their destructors among them.
    len: Cell<usize>,
    has_collector: Cell<bool>,
    /// The number of boxes for which the next collection is due.
    due_at: Cell<usize>,
    pub(super) collecting: Cell<bool>,
    /// Boxes that a collection may find to be garbage.
    pub(super) suspects: Held,
    /// Suspects with which a phase of the collection is done.
    pub(super) passed: Held,
    /// Boxes that are alive, and have not been asked yet what they reach.
    pub(super) reached: Held,
    /// Garbage that the collection has let go.
    pub(super) released: Ring,
    /// Destructors under way.
    depth: Cell<usize>,
    /// Dead boxes whose destructors wait, because too many are under way.
    waiting: Cell<Garbage>,
    /// Whether any waits, which is asked for each box that goes.
    any_waits: Cell<bool>,
}

impl Boxes {
    /// A collector's boxes, none yet; `None` without memory.
    pub(super) fn new() -> Option<NonNull<Self>> {
        let boxes = try_box(Self {
            all: Ring::new(),
            len: Cell::new(0),
            has_collector: Cell::new(true),
            due_at: Cell::new(INITIAL),
            collecting: Cell::new(false),
            suspects: Held::new(),
            passed: Held::new(),
            reached: Held::new(),
            released: Ring::new(),
            depth: Cell::new(0),
            waiting: Cell::new(Garbage::new()),
            any_waits: Cell::new(false),
        });
        boxes.ok().map(|boxes| NonNull::from(Box::leak(boxes)))
    }

    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    /// Counts a new box.
    #[inline]
    pub(super) fn add(&self) {
        self.len.set(self.len.get() + 1);
    }

    pub(super) fn is_due(&self) -> bool {
        self.len() >= self.due_at.get() && !self.collecting.get()
    }

    /// Takes down what a collection cost: the boxes that are left, and the references visited.
    ///
    /// As many boxes may be made before the next one, so that the cost for each stays flat.
    pub(super) fn postpone(&self, visited: usize) {
        let len = self.len();
        let more = len.max(visited / REFERENCES_PER_BOX).max(INITIAL);
        self.due_at.set(len.saturating_add(more));
    }

    /// The collector goes.
    ///
    /// # Safety
    ///
    /// It was there, and uses its boxes no more.
    pub(super) unsafe fn close(this: NonNull<Self>) {
        // SAFETY: the collector keeps its boxes until now.
        unsafe { this.as_ref() }.has_collector.set(false);
        // SAFETY: the caller guarantees that the collector uses them no more.
        unsafe { Self::free_if_unused(this) }
    }

    /// Frees what the boxes shared if neither a box nor the collector is left.
    ///
    /// # Safety
    ///
    /// The caller does not use it afterwards.
    #[inline]
    unsafe fn free_if_unused(this: NonNull<Self>) {
        // SAFETY: the caller has kept it until now.
        let boxes = unsafe { this.as_ref() };
        if boxes.len() == 0 && !boxes.has_collector.get() {
            // SAFETY: it came from a `Box`, and nobody uses it any more.
            drop(unsafe { Box::from_raw(this.as_ptr()) });
        }
    }

    /// Lets a dead box wait for its destructor.
    #[cold]
    fn let_wait(&self, dead: DeadBox) {
        let mut waiting = self.waiting.replace(Garbage::new());
        waiting.push(dead);
        self.waiting.set(waiting);
        self.any_waits.set(true);
    }

    #[inline]
    fn destroy_waiting(&self) {
        while self.any_waits.take() {
            drop(self.waiting.replace(Garbage::new()));
        }
    }
}

/// The destructor of a box that is under way; the box is gone when this is dropped.
pub(super) struct Destruction(NonNull<Boxes>);

impl Destruction {
    /// Begins to destroy a box, or lets it wait: then there is nothing to do.
    ///
    /// # Safety
    ///
    /// The box is one of `boxes`.
    #[inline]
    pub(super) unsafe fn begin(boxes: NonNull<Boxes>, dead: DeadBox) -> Option<Self> {
        // SAFETY: what boxes share goes after the last of them.
        let shared = unsafe { boxes.as_ref() };
        if shared.depth.get() == DEEPEST {
            shared.let_wait(dead);
            return None;
        }
        shared.depth.set(shared.depth.get() + 1);
        Some(Self(boxes))
    }

    /// Destroys the boxes that wait, if this destructor is the outermost.
    #[inline]
    fn destroy_waiting(&self) {
        // SAFETY: the box counts as long as its destructor is under way.
        let boxes = unsafe { self.0.as_ref() };
        if boxes.depth.get() == 1 {
            boxes.destroy_waiting();
        }
    }
}

impl Drop for Destruction {
    #[inline]
    fn drop(&mut self) {
        let end = End(self);
        end.0.destroy_waiting();
    }
}

/// Ends the destruction of a box, also if one that waited has panicked.
struct End<'d>(&'d Destruction);

impl Drop for End<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.destroy_waiting();
        let boxes = self.0.0;
        // SAFETY: the box counts until now, and whoever reaches zero uses `boxes` no more.
        unsafe {
            let shared = boxes.as_ref();
            shared.depth.set(shared.depth.get() - 1);
            shared.len.set(shared.len.get() - 1);
            Boxes::free_if_unused(boxes);
        }
    }
}
