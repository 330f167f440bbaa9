//! Making and destroying traced boxes.

use super::boxes::{Boxes, Destruction};
use super::node::Node;
use super::ring::Links;
use crate::extern_ref::trace::Trace;
use crate::extern_ref::{DeadBox, Kind, KindOf, VMExternData, VMExternRef, retire_or_free};
use alloc::alloc::alloc;
use core::alloc::Layout;
use core::any::Any;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// What all traced boxes of `T` share.
pub(super) struct TracedKindOf<T>(PhantomData<T>);

impl<T: Trace + Any> TracedKindOf<T> {
    pub(super) const LAYOUT: Layout = {
        const TOO_LARGE: &str = "the value is too large to be boxed";
        let Ok((front, footer)) = Layout::new::<T>().extend(Layout::new::<VMExternData>()) else {
            panic!("{}", TOO_LARGE)
        };
        let Ok((layout, node)) = front.extend(Layout::new::<Node>()) else {
            panic!("{}", TOO_LARGE)
        };
        assert!(footer == KindOf::<T>::LAYOUT.1);
        assert!(node == footer + size_of::<VMExternData>());
        layout.pad_to_align()
    };

    // SAFETY: both functions take boxes of this layout, in which a node stands behind the footer.
    const KIND: &'static Kind =
        &unsafe { KindOf::<T>::KIND.traced(Self::LAYOUT, Self::as_traced, Self::destroy) };

    /// Boxes `value`, or gives it back when memory is out.
    ///
    /// # Safety
    ///
    /// `boxes` has its collector.
    pub(super) unsafe fn try_new(value: T, boxes: NonNull<Boxes>) -> Result<VMExternRef, T> {
        // SAFETY: a footer is part of the layout, so it is not empty.
        let Some(start) = NonNull::new(unsafe { alloc(Self::LAYOUT) }) else {
            return Err(value);
        };
        // SAFETY: the allocation has room for a value, a footer and a node, each at its place; the
        // caller guarantees `boxes`, and the box leaves their ring when it is destroyed.
        unsafe {
            start.cast().write(value);
            let data: NonNull<VMExternData> = start.add(KindOf::<T>::LAYOUT.1).cast();
            data.write(VMExternData::new(Self::KIND));
            let node = Node::behind(data);
            node.write(Node::new(boxes));
            data.as_ptr().expose_provenance();
            boxes.as_ref().add();
            boxes.as_ref().all.push(node.cast());
            Ok(VMExternRef::from_raw(data.as_ptr().cast()))
        }
    }

    /// The value of a box.
    ///
    /// # Safety
    ///
    /// `data` is the footer of a box of a `T`, with the provenance of the whole box.
    unsafe fn as_traced(data: NonNull<VMExternData>) -> NonNull<dyn Trace> {
        // SAFETY: the caller guarantees a box of a `T`.
        unsafe { KindOf::<T>::value(data) }
    }

    /// Drops the value and frees the box, also if the value's destructor panics.
    ///
    /// # Safety
    ///
    /// As for [`as_traced`](Self::as_traced), and no reference to the box remains.
    #[inline(never)]
    unsafe fn destroy(data: NonNull<VMExternData>) {
        // SAFETY: the caller guarantees a traced box without references.
        if let Some(_end) = unsafe { Dying::begin(data) } {
            // SAFETY: nobody else reaches the value, so it is dropped once.
            unsafe { KindOf::<T>::value(data).drop_in_place() }
        }
    }
}

/// A box whose value is being dropped; its memory goes when this does, unless it is weakly held.
struct Dying {
    data: NonNull<VMExternData>,
    /// Behind `data`, so that the box is gone before its collector's boxes may go.
    _destruction: Destruction,
}

impl Dying {
    /// Takes a dead box out of its collector; `None` if it has to wait for its destructor.
    ///
    /// # Safety
    ///
    /// `data` is the footer of a traced box, no reference to it remains, and nobody else destroys
    /// it.
    #[inline]
    unsafe fn begin(data: NonNull<VMExternData>) -> Option<Self> {
        // SAFETY: the caller guarantees a traced box, and that this is its only handle.
        unsafe {
            let node = Node::behind(data);
            let destruction = Destruction::begin(node.as_ref().boxes, DeadBox::new(data))?;
            data.as_ref().ref_count().kill(0);
            Links::remove(node.cast());
            Some(Self {
                data,
                _destruction: destruction,
            })
        }
    }
}

impl Drop for Dying {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the value was dropped, and gave up the reference that it stood for just now.
        unsafe { give_up_weak(self.data) }
    }
}

/// Gives up one weak reference; the last frees the box.
///
/// # Safety
///
/// `data` is the footer of a traced box, and the reference is not used again.
#[inline]
pub(super) unsafe fn give_up_weak(data: NonNull<VMExternData>) {
    // SAFETY: the reference that is given up has kept the box until now.
    unsafe {
        if Node::behind(data).as_ref().weak.decrement() {
            retire_or_free(data);
        }
    }
}
