//! Rings of boxes, which run through the boxes themselves and need no memory.

use crate::extern_ref::{VMExternData, VMExternRef};
use core::cell::Cell;
use core::ptr::NonNull;

/// The links of one box, directly behind the footer of a traced box.
///
/// ```text
///    .--> head <--> links <--> links <--.
///    `----------------------------------'
/// ```
pub(super) struct Links {
    /// `None` in no ring.
    next: Cell<Option<NonNull<Self>>>,
    previous: Cell<Option<NonNull<Self>>>,
}

impl Links {
    pub(super) const fn new() -> Self {
        Self {
            next: Cell::new(None),
            previous: Cell::new(None),
        }
    }

    /// The links of `reference`'s box, if it is a traced one.
    #[inline]
    pub(super) fn of(reference: &VMExternRef) -> Option<NonNull<Self>> {
        // SAFETY: behind the footer of a traced box stand its links.
        let links = || unsafe { reference.footer().add(1) }.cast();
        reference.is_traced().then(links)
    }

    /// The footer of the box that has these links.
    ///
    /// # Safety
    ///
    /// They are links of a box, with the provenance of the whole box.
    pub(super) unsafe fn footer(this: NonNull<Self>) -> NonNull<VMExternData> {
        // SAFETY: the caller guarantees a box, whose footer stands in front of its links.
        unsafe { this.cast::<VMExternData>().sub(1) }
    }

    /// Takes the links out of their ring, if they are in one.
    ///
    /// # Safety
    ///
    /// The box is allocated.
    #[inline]
    pub(super) unsafe fn remove(this: NonNull<Self>) {
        // SAFETY: the caller guarantees the box, and links that are in a ring have allocated
        // neighbours, for boxes leave their ring before they go.
        unsafe {
            let links = this.as_ref();
            if let (Some(next), Some(previous)) = (links.next.take(), links.previous.take()) {
                next.as_ref().previous.set(Some(previous));
                previous.as_ref().next.set(Some(next));
            }
        }
    }
}

/// A ring of boxes, from the one that is longest in it.
///
/// It owns no reference. It stays where it is as long as a box is in it.
pub(super) struct Ring(Links);

impl Ring {
    pub(super) const fn new() -> Self {
        Self(Links::new())
    }

    /// Moves a box from its ring to the end of this one.
    ///
    /// # Safety
    ///
    /// The box is allocated, and it leaves this ring before it or the ring goes or moves.
    #[inline]
    pub(super) unsafe fn push(&self, links: NonNull<Links>) {
        let head = NonNull::from(&self.0);
        // SAFETY: the caller guarantees the box, and every other one in the ring.
        unsafe {
            Links::remove(links);
            let last = self.0.previous.get().unwrap_or(head);
            links.as_ref().next.set(Some(head));
            links.as_ref().previous.set(Some(last));
            last.as_ref().next.set(Some(links));
        }
        self.0.previous.set(Some(links));
    }

    /// Takes the first box out.
    pub(super) fn pop(&self) -> Option<NonNull<Links>> {
        let first = self.0.next.get()?;
        if first == NonNull::from(&self.0) {
            return None;
        }
        // SAFETY: whoever pushed a box guarantees that it leaves the ring before it goes.
        unsafe { Links::remove(first) };
        Some(first)
    }
}

/// A ring that owns one reference to each of its boxes.
pub(super) struct Held(Ring);

impl Held {
    pub(super) const fn new() -> Self {
        Self(Ring::new())
    }

    /// Moves the box of `reference` into this ring; one that is not traced is dropped.
    pub(super) fn push(&self, reference: VMExternRef) {
        if let Some(links) = Links::of(&reference) {
            // SAFETY: the reference keeps the box, and `pop` takes both out together.
            unsafe { self.0.push(links) };
            core::mem::forget(reference);
        }
    }

    /// Moves a box here from another ring of this kind, together with the reference to it.
    ///
    /// # Safety
    ///
    /// The box is in such a ring.
    pub(super) unsafe fn push_held(&self, links: NonNull<Links>) {
        // SAFETY: the caller guarantees a reference that is owned by the box's place in a ring.
        unsafe { self.0.push(links) }
    }

    /// Takes the first box out.
    pub(super) fn pop(&self) -> Option<VMExternRef> {
        let links = self.0.pop()?;
        // SAFETY: `push` and `push_held` put a reference into the ring with each box; it is taken
        // over.
        Some(unsafe { VMExternRef::from_raw(Links::footer(links).as_ptr().cast()) })
    }
}
