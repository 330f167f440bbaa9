//! What a traced box has behind its footer.

use super::boxes::Boxes;
use super::ring::Links;
use crate::extern_ref::{VMExternData, VMExternRef};
use crate::ref_count::RefCount;
use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::NonNull;

/// What a traced box has behind its footer.
///
/// ```text
/// +----------+---------+-----------+------+-------+-------+----------+------+
/// | value: T | padding | ref_count | kind | links | boxes | standing | weak |
/// +----------+---------+-----------+------+-------+-------+----------+------+
///                                         ^ Node
/// ```
#[repr(C)]
pub(super) struct Node {
    links: Links,
    /// What the boxes of its collector share; not used once the value is gone.
    pub(super) boxes: NonNull<Boxes>,
    pub(super) standing: Cell<Standing>,
    /// Weak references, and one for the box as long as its value is there.
    pub(super) weak: RefCount,
}

const _: () = assert!(offset_of!(Node, links) == 0);

/// How a box stands in the collection that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has no part in one, or is known to be alive.
    Alive,
    /// It is held, and traced boxes have named so many references to it; the largest number
    /// stands for any larger one.
    Named(u32),
    /// It is held, and will be unlinked and released.
    Garbage,
}

impl Node {
    pub(super) const fn new(boxes: NonNull<Boxes>) -> Self {
        Self {
            links: Links::new(),
            boxes,
            standing: Cell::new(Standing::Alive),
            weak: RefCount::one(),
        }
    }

    /// The node of `reference`'s box, if it is a traced one.
    #[inline]
    pub(super) fn of(reference: &VMExternRef) -> Option<&Self> {
        let links = Links::of(reference)?;
        // SAFETY: a node begins with its links, and the reference keeps the box.
        Some(unsafe { links.cast().as_ref() })
    }

    /// The node behind a footer.
    ///
    /// # Safety
    ///
    /// `data` is the footer of a traced box, with the provenance of the whole box.
    #[inline]
    pub(super) unsafe fn behind(data: NonNull<VMExternData>) -> NonNull<Self> {
        // SAFETY: the caller guarantees a traced box.
        unsafe { data.add(1) }.cast()
    }
}
