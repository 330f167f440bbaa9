//! The box: one heap allocation, counted, one word to hold.
//!
//! ```text
//! ,---------------------------------------------------.
//! |                                                   |
//! V                                                   |
//! +----------------+---------+------------+-----------+--+
//! | value: T       | padding | ref_count  | value_ptr    |
//! +----------------+---------+------------+--------------+
//!                            ^  VMExternData
//! VMExternRef ---------------'
//! ```
//!
//! The value stands before the footer, so that its alignment costs only its
//! own padding, and compiled code finds the count at offset 0 whatever `T` is.

use crate::ref_count::RefCount;
use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use core::alloc::Layout;
use core::any::Any;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, forget, offset_of};
use core::ops::Deref;
use core::ptr::{self, NonNull};

/// A reference-counted box for a host value, one word wide.
///
/// Clones share the value; the last one to go drops it. `Option<VMExternRef>`
/// is one word too, and `None` is the null reference of Wasm. The box
/// dereferences to `dyn Any`:
///
/// ```
/// use vmexternref_core::VMExternRef;
///
/// let file = VMExternRef::new(String::from("contents"));
/// let handle = file.clone();
/// assert!(VMExternRef::eq(&file, &handle));
/// assert_eq!(handle.downcast_ref::<String>().unwrap(), "contents");
/// assert_eq!(file.strong_count(), 2);
/// ```
///
/// Equality, hashing and ordering go by address and are associated functions:
/// two boxes with equal values are different references.
///
/// It is neither `Send` nor `Sync`: the count is a plain word, because
/// compiled code counts inline.
#[repr(transparent)]
pub struct VMExternRef(NonNull<VMExternData>, PhantomData<dyn Any>);

/// The footer of a box: its reference count and its value's address.
///
/// Compiled code knows the offset of the count ([`Offsets`](crate::Offsets)),
/// and nothing else of it.
#[repr(C)]
pub struct VMExternData {
    ref_count: RefCount,
    value_ptr: NonNull<dyn Any>,
}

impl VMExternData {
    pub(crate) const REF_COUNT_OFFSET: usize = offset_of!(Self, ref_count);

    #[inline]
    pub(crate) fn ref_count(&self) -> &RefCount {
        &self.ref_count
    }
}

impl fmt::Debug for VMExternData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VMExternData")
            .field("references", &self.ref_count.references())
            .finish_non_exhaustive()
    }
}

/// There was no memory; what was to be stored comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory<T = ()>(pub T);

impl<T> fmt::Display for OutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl<T: fmt::Debug> core::error::Error for OutOfMemory<T> {}

impl VMExternRef {
    /// Boxes `value`.
    ///
    /// Without memory it ends as every failed allocation does, in
    /// [`handle_alloc_error`]; see [`try_new`](Self::try_new).
    #[must_use]
    pub fn new<T: Any>(value: T) -> Self {
        Self::new_with(|| value)
    }

    /// Allocates a box first, and then lets `construct` fill it in place.
    ///
    /// If `construct` panics the allocation is freed again. Without memory it
    /// ends in [`handle_alloc_error`].
    #[must_use]
    pub fn new_with<T: Any>(construct: impl FnOnce() -> T) -> Self {
        match Allocation::<T>::new() {
            Some(allocation) => allocation.fill(construct),
            None => handle_alloc_error(Allocation::<T>::LAYOUT.0),
        }
    }

    /// Boxes `value`, or gives it back.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`], with the value.
    pub fn try_new<T: Any>(value: T) -> Result<Self, OutOfMemory<T>> {
        match Allocation::<T>::new() {
            Some(allocation) => Ok(allocation.fill(|| value)),
            None => Err(OutOfMemory(value)),
        }
    }

    /// Allocates a box and lets `construct` fill it, or gives `construct` back.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`], with the closure, which has not run.
    pub fn try_new_with<T: Any, F: FnOnce() -> T>(construct: F) -> Result<Self, OutOfMemory<F>> {
        match Allocation::<T>::new() {
            Some(allocation) => Ok(allocation.fill(construct)),
            None => Err(OutOfMemory(construct)),
        }
    }

    /// The word that compiled code handles; the caller keeps the reference.
    ///
    /// Its provenance is exposed, so that compiled code and collections may
    /// use it.
    #[inline]
    #[must_use]
    pub fn as_raw(&self) -> *mut u8 {
        let raw = self.0.as_ptr();
        raw.expose_provenance();
        raw.cast()
    }

    /// Turns the reference into a word that owns it.
    ///
    /// [`from_raw`](Self::from_raw) takes it back.
    #[inline]
    #[must_use]
    pub fn into_raw(self) -> *mut u8 {
        let raw = self.as_raw();
        forget(self);
        raw
    }

    /// Takes over the reference that a word owns.
    ///
    /// # Safety
    ///
    /// `raw` came from [`into_raw`](Self::into_raw), or compiled code counted
    /// it; the reference it owns is not used again.
    #[inline]
    #[must_use]
    pub unsafe fn from_raw(raw: *mut u8) -> Self {
        debug_assert!(
            !raw.is_null(),
            "the null reference is `None`, not a VMExternRef"
        );
        let data = ptr::with_exposed_provenance_mut::<VMExternData>(raw.addr());
        // SAFETY: the caller guarantees that `raw` is the address of a live box, so it is not null.
        Self(unsafe { NonNull::new_unchecked(data) }, PhantomData)
    }

    /// Makes a new reference to the box whose word is `raw`.
    ///
    /// # Safety
    ///
    /// `raw` is the word of a box that is alive.
    #[inline]
    #[must_use]
    pub unsafe fn clone_from_raw(raw: *mut u8) -> Self {
        // SAFETY: the caller guarantees a live box; `ManuallyDrop` keeps the borrowed reference owned by whoever owned it.
        let borrowed = ManuallyDrop::new(unsafe { Self::from_raw(raw) });
        Self::clone(&borrowed)
    }

    /// How many references there are, compiled code's included.
    #[inline]
    #[must_use]
    pub fn strong_count(&self) -> usize {
        self.data().ref_count.references()
    }

    /// The value, if it is a `T`.
    ///
    /// It answers as `dyn Any` does, and in optimised code as a rule without a
    /// call: it knows a `T` by its vtable, and asks only where that differs.
    #[inline]
    #[must_use]
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        let value = self.data().value_ptr.as_ptr().cast_const();
        let as_t = value.cast::<T>();
        #[expect(
            ambiguous_wide_pointer_comparisons,
            reason = "a type may have several vtables, and those that differ are asked"
        )]
        let same_vtable = value == as_t as *const dyn Any;
        if same_vtable {
            // SAFETY: `Any` answers by its vtable alone, so one that has a `T`'s is a `T`; `self` keeps it alive.
            return Some(unsafe { &*as_t });
        }
        (**self).downcast_ref()
    }

    /// Whether both are references to the same box.
    #[inline]
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "equal values in different boxes are different references, so the trait would mislead"
    )]
    pub fn eq(a: &Self, b: &Self) -> bool {
        a.0 == b.0
    }

    /// Hashes the address of the box.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "the hash is one of an address and says nothing of the value"
    )]
    pub fn hash<H: Hasher>(reference: &Self, hasher: &mut H) {
        reference.0.hash(hasher);
    }

    /// Orders references by the addresses of their boxes.
    #[inline]
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "the order is one of addresses and says nothing of the values"
    )]
    pub fn cmp(a: &Self, b: &Self) -> Ordering {
        a.0.cmp(&b.0)
    }

    #[inline]
    pub(crate) fn data(&self) -> &VMExternData {
        // SAFETY: a `VMExternRef` holds one of the references that keep its box allocated.
        unsafe { self.0.as_ref() }
    }

    /// Gives up this reference; `Some` is the dead box, if it was the last.
    #[inline]
    pub(crate) fn release(self) -> Option<NonNull<VMExternData>> {
        let this = ManuallyDrop::new(self);
        this.data().ref_count.decrement().then_some(this.0)
    }
}

impl Clone for VMExternRef {
    #[inline]
    fn clone(&self) -> Self {
        self.data().ref_count.increment();
        Self(self.0, PhantomData)
    }
}

impl Drop for VMExternRef {
    #[inline]
    fn drop(&mut self) {
        if self.data().ref_count.decrement() {
            // SAFETY: this was the last reference, so nobody else can reach the box.
            unsafe { destroy(self.0) }
        }
    }
}

impl Deref for VMExternRef {
    type Target = dyn Any;

    #[inline]
    fn deref(&self) -> &dyn Any {
        // SAFETY: `value_ptr` points to the value in the same allocation, which lives as long as this reference.
        unsafe { self.data().value_ptr.as_ref() }
    }
}

impl fmt::Debug for VMExternRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VMExternRef({:p})", self.0)
    }
}

impl fmt::Pointer for VMExternRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Pointer::fmt(&self.0, f)
    }
}

/// Destroys a box whose count compiled code has brought to zero.
///
/// Compiled code calls it after its inline decrement, when every store that
/// belongs to the operation is complete: the value's destructor runs here, and
/// it may call back into Wasm. A destructor that panics aborts the process,
/// for a panic cannot pass through compiled frames.
///
/// # Safety
///
/// `raw` is the word of a box whose count has just become zero, and no
/// reference to the box remains.
pub unsafe extern "C" fn drop_extern_ref(raw: *mut u8) {
    let data = ptr::with_exposed_provenance_mut::<VMExternData>(raw.addr());
    // SAFETY: the caller guarantees that `raw` is a box, so not null, and that nobody else reaches it.
    unsafe { destroy(NonNull::new_unchecked(data)) }
}

/// Drops the value and frees the box, also if the value's destructor panics.
///
/// # Safety
///
/// No reference to the box remains.
#[inline(never)]
pub(crate) unsafe fn destroy(data: NonNull<VMExternData>) {
    // SAFETY: the caller guarantees that the box is still allocated.
    let value = unsafe { (*data.as_ptr()).value_ptr }.as_ptr();
    let _free = FreeOnDrop {
        start: value.cast(),
        // SAFETY: the value is alive until it is dropped below, and `data` is its footer.
        layout: unsafe { layout_of(&*value, data) },
    };
    // SAFETY: the caller guarantees that nobody else reaches the value, so it is dropped once.
    unsafe { ptr::drop_in_place(value) }
}

/// The layout of a box that exists, as [`box_layout`] computed it.
///
/// It takes the offset of the footer from where the footer is.
///
/// # Safety
///
/// `data` is the footer behind `value`.
#[inline]
unsafe fn layout_of(value: &dyn Any, data: NonNull<VMExternData>) -> Layout {
    let footer = data.addr().get() - ptr::from_ref(value).addr();
    let align = align_of_val(value).max(align_of::<VMExternData>());
    let size = (footer + size_of::<VMExternData>() + align - 1) & !(align - 1);
    debug_assert_eq!(
        Ok(box_layout(Layout::for_value(value)).0),
        Layout::from_size_align(size, align),
        "a box is freed as it was allocated"
    );
    // SAFETY: `Layout` accepted the same size and alignment when the box was allocated.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

/// The layout of a box, and the byte offset of its footer.
const fn box_layout(value: Layout) -> (Layout, usize) {
    match value.extend(Layout::new::<VMExternData>()) {
        Ok((layout, footer)) => (layout.pad_to_align(), footer),
        Err(_) => panic!("the value is too large to be boxed"),
    }
}

/// Frees memory when it goes out of scope.
struct FreeOnDrop {
    start: *mut u8,
    layout: Layout,
}

impl Drop for FreeOnDrop {
    fn drop(&mut self) {
        // SAFETY: whoever made this took `start` from the global allocator with this layout.
        unsafe { dealloc(self.start, self.layout) }
    }
}

/// Memory for a box whose value is not there yet.
struct Allocation<T> {
    memory: FreeOnDrop,
    value: PhantomData<T>,
}

impl<T: Any> Allocation<T> {
    const LAYOUT: (Layout, usize) = box_layout(Layout::new::<T>());

    fn new() -> Option<Self> {
        let (layout, _) = Self::LAYOUT;
        // SAFETY: the footer has three words, so the layout is not empty.
        let start = unsafe { alloc(layout) };
        (!start.is_null()).then(|| Self {
            memory: FreeOnDrop { start, layout },
            value: PhantomData,
        })
    }

    #[inline]
    fn fill(self, construct: impl FnOnce() -> T) -> VMExternRef {
        let start = self.memory.start;
        let value: *mut T = start.cast();
        // SAFETY: the allocation begins with room for a `T`, and is aligned for it.
        unsafe { value.write(construct()) };
        // SAFETY: the footer lies inside the allocation, behind the value.
        let footer: *mut VMExternData = unsafe { start.add(Self::LAYOUT.1) }.cast();
        // SAFETY: `footer` is aligned and inside the allocation, and neither pointer is null, as `Self::new` has checked.
        let reference = unsafe {
            footer.write(VMExternData {
                ref_count: RefCount::one(),
                value_ptr: NonNull::new_unchecked(value as *mut dyn Any),
            });
            VMExternRef(NonNull::new_unchecked(footer), PhantomData)
        };
        forget(self.memory);
        reference
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use core::cell::Cell;
    use static_assertions::assert_not_impl_any;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    assert_not_impl_any!(VMExternRef: Send, Sync);
    assert_not_impl_any!(VMExternData: Send, Sync);

    struct OnDrop<F: Fn()>(F);

    impl<F: Fn()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    fn counted() -> (Rc<Cell<usize>>, VMExternRef) {
        let drops = Rc::new(Cell::new(0));
        let seen = drops.clone();
        let reference = VMExternRef::new(OnDrop(move || seen.set(seen.get() + 1)));
        (drops, reference)
    }

    #[test]
    fn none_is_null() {
        assert_eq!(size_of::<Option<VMExternRef>>(), size_of::<usize>());
        let none: Option<VMExternRef> = None;
        // SAFETY: an `Option` of a non-null pointer is one word, and `None` is null.
        let word = unsafe { core::mem::transmute::<Option<VMExternRef>, usize>(none) };
        assert_eq!(word, 0);
    }

    #[test]
    fn the_last_reference_drops_the_value_once() {
        let (drops, a) = counted();
        let b = a.clone();
        drop(a);
        assert_eq!(drops.get(), 0);
        drop(b);
        assert_eq!(drops.get(), 1);
    }

    #[test]
    fn a_value_is_of_its_own_type_only() {
        #[derive(Debug, PartialEq)]
        #[repr(transparent)]
        struct Wrapped(u64);
        struct Empty;

        let number = VMExternRef::new(7_u64);
        assert_eq!(number.downcast_ref(), Some(&7_u64));
        assert_eq!(number.downcast_ref::<i64>(), None);
        assert_eq!(number.downcast_ref::<Wrapped>(), None);
        assert!(number.downcast_ref::<VMExternRef>().is_none());
        assert_eq!(VMExternRef::new(Wrapped(8)).downcast_ref::<u64>(), None);
        assert!(VMExternRef::new(Empty).downcast_ref::<Empty>().is_some());
        assert!(VMExternRef::new(()).downcast_ref::<Empty>().is_none());
    }

    #[test]
    fn raw_words_carry_ownership() {
        let (drops, a) = counted();
        let raw = a.into_raw();
        // SAFETY: `raw` owns the reference that `into_raw` gave up.
        let b = unsafe { VMExternRef::clone_from_raw(raw) };
        assert_eq!(b.strong_count(), 2);
        assert_eq!(b.as_raw(), raw);
        // SAFETY: `raw` still owns its reference, and is not used again.
        drop(unsafe { VMExternRef::from_raw(raw) });
        assert_eq!((drops.get(), b.strong_count()), (0, 1));
    }

    #[test]
    fn compiled_code_can_bring_the_count_to_zero() {
        let (drops, a) = counted();
        let raw = a.into_raw();
        let count: *mut usize = ptr::with_exposed_provenance_mut(
            raw.addr() + usize::from(crate::Offsets::HOST.ref_count()),
        );
        // SAFETY: `raw` owns the only reference; this is what compiled code does inline.
        unsafe {
            *count -= 1;
            assert_eq!(*count, 0);
            drop_extern_ref(raw);
        }
        assert_eq!(drops.get(), 1);
    }

    #[repr(align(256))]
    struct OverAligned(u8);

    struct Empty;

    #[test]
    fn any_alignment_and_size() {
        let over = VMExternRef::new(OverAligned(7));
        let value = over.downcast_ref::<OverAligned>().unwrap();
        assert_eq!(ptr::from_ref(value).addr() % 256, 0);
        assert_eq!(value.0, 7);
        assert!(VMExternRef::new(Empty).is::<Empty>());
        assert!(VMExternRef::new([0_u64; 1000]).is::<[u64; 1000]>());
        assert!(!VMExternRef::new(1_u8).is::<u16>());
    }

    #[test]
    fn identity_is_the_box() {
        let (a, b) = (VMExternRef::new(5), VMExternRef::new(5));
        assert!(!VMExternRef::eq(&a, &b));
        assert!(VMExternRef::eq(&a, &a.clone()));
        assert_eq!(VMExternRef::cmp(&a, &a), Ordering::Equal);
        assert_eq!(VMExternRef::cmp(&a, &b), VMExternRef::cmp(&b, &a).reverse());
        let hash = |reference| {
            let mut hasher = std::hash::DefaultHasher::new();
            VMExternRef::hash(reference, &mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(&a), hash(&a.clone()));
        assert_eq!(format!("{a:p}"), format!("{:p}", a.as_raw()));
    }

    #[test]
    fn a_panicking_constructor_leaks_nothing() {
        let (drops, inner) = counted();
        let result = catch_unwind(AssertUnwindSafe(|| {
            VMExternRef::new_with(|| -> VMExternRef {
                let _held = inner;
                panic!("not today")
            })
        }));
        assert!(result.is_err());
        assert_eq!(drops.get(), 1);
    }

    #[test]
    fn a_panicking_destructor_still_frees_the_box() {
        let (drops, inner) = counted();
        let outer = VMExternRef::new((OnDrop(|| panic!("not today")), inner));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(outer))).is_err());
        assert_eq!(drops.get(), 1);
    }
}
