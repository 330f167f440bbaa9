//! The box: one heap allocation, counted, one word to hold.
//!
//! ```text
//! +----------------+---------+------------+---------+
//! | value: T       | padding | ref_count  | kind    |
//! +----------------+---------+------------+---------+
//!                            ^  VMExternData   |
//! VMExternRef ---------------'                 V  what all boxes of `T` share
//!                                           +-------------------------------------+
//!                                           | type id, layout, as_any, destroy, … |
//!                                           +-------------------------------------+
//! ```
//!
//! The value stands before the footer. Its alignment costs only its own padding, and compiled code
//! finds the count at offset 0 whatever `T` is. What some kinds of boxes have besides stands behind
//! the footer, so that the value is at the same distance in all boxes of `T`.

pub(crate) mod trace;

use crate::layout::{Offsets, WORD};
use crate::quarantine::{self, Retired};
use crate::ref_count::{RefCount, abort_with};
use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use core::alloc::Layout;
use core::any::{Any, TypeId, type_name};
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, forget, offset_of};
use core::ops::Deref;
use core::ptr::{self, NonNull};
use trace::Trace;

/// A reference-counted box for a host value, one word wide.
///
/// Clones share the value; the last one to go drops it. `Option<VMExternRef>` is one word too, and
/// `None` is the null reference of Wasm. The box dereferences to `dyn Any`:
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
/// Equality, hashing and ordering go by address and are associated functions: two boxes with equal
/// values are different references.
///
/// It is neither `Send` nor `Sync`: the count is a plain word, because compiled code counts inline.
///
/// # Use of a freed reference
///
/// Unsafe code, and compiled code with a wrong stack map, can use a box after its last reference
/// is gone. Cloning such a reference aborts. Builds with debug assertions or with the feature
/// `quarantine` check each use: they keep the memory of the boxes that died last
/// ([`set_quarantine`]), and abort with the type of the box.
#[repr(transparent)]
pub struct VMExternRef(NonNull<VMExternData>);

/// The footer of a box: its reference count, and what all boxes of its type share.
///
/// Compiled code knows the offset of the count ([`Offsets`]), and nothing else of it.
#[repr(C)]
pub struct VMExternData {
    ref_count: RefCount,
    kind: &'static Kind,
    /// The count is a plain word, and the value may be of any type.
    one_thread: PhantomData<*mut dyn Any>,
}

const _: () = {
    assert!(offset_of!(VMExternData, ref_count) == Offsets::HOST.ref_count() as usize);
    assert!(size_of::<VMExternData>() == 2 * WORD);
    assert!(align_of::<VMExternData>() == WORD);
    assert!(align_of::<VMExternData>() == Offsets::HOST.immediate_bits() as usize + 1);
    assert!(size_of::<Option<VMExternRef>>() == WORD);
};

impl VMExternData {
    /// The footer of a new box, which has one reference.
    #[inline]
    pub(crate) fn new(kind: &'static Kind) -> Self {
        Self {
            ref_count: RefCount::one(),
            kind,
            one_thread: PhantomData,
        }
    }

    /// Whether a box can be at that address; null is not asked about.
    #[inline]
    pub(crate) fn can_be_at(word: usize) -> bool {
        word.is_multiple_of(align_of::<Self>())
    }

    /// The footer at an address that compiled code or a list of dead boxes holds.
    ///
    /// # Safety
    ///
    /// A box is there, and its memory is not freed while the result is used.
    #[inline]
    pub(crate) unsafe fn at<'a>(address: usize) -> &'a Self {
        // SAFETY: the caller guarantees a box, and every box exposes its provenance when it is
        // made.
        unsafe { &*ptr::with_exposed_provenance(address) }
    }

    #[inline]
    pub(crate) fn ref_count(&self) -> &RefCount {
        &self.ref_count
    }

    /// The name of the value's type.
    pub(crate) fn type_name(&self) -> &'static str {
        (self.kind.type_name)()
    }
}

impl fmt::Debug for VMExternData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VMExternData")
            .field("references", &self.ref_count.references())
            .field("type", &self.type_name())
            .finish_non_exhaustive()
    }
}

/// Finds the value behind the footer of a traced box.
type AsTraced = unsafe fn(NonNull<VMExternData>) -> NonNull<dyn Trace>;

/// What all boxes of one type share.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    type_id: TypeId,
    type_name: fn() -> &'static str,
    layout: Layout,
    /// The value of a box, with which its memory begins.
    as_any: unsafe fn(NonNull<VMExternData>) -> NonNull<dyn Any>,
    /// The value of a traced box, which has a node of its collector behind its footer.
    as_traced: Option<AsTraced>,
    /// Drops the value and frees the box.
    destroy: unsafe fn(NonNull<VMExternData>),
}

impl Kind {
    /// The kind of traced boxes of the same type.
    ///
    /// # Safety
    ///
    /// The functions keep the contracts of the fields, and the layout is that of a box of this kind
    /// with a node of its collector directly behind its footer.
    pub(crate) const unsafe fn traced(
        &self,
        layout: Layout,
        as_traced: AsTraced,
        destroy: unsafe fn(NonNull<VMExternData>),
    ) -> Self {
        Self {
            layout,
            as_traced: Some(as_traced),
            destroy,
            ..*self
        }
    }
}

/// The layout of boxes of `T`, and what they share.
pub(crate) struct KindOf<T>(PhantomData<T>);

impl<T: Any> KindOf<T> {
    /// The layout of a box, and the byte offset of its footer.
    pub(crate) const LAYOUT: (Layout, usize) =
        match Layout::new::<T>().extend(Layout::new::<VMExternData>()) {
            Ok((layout, footer)) => (layout.pad_to_align(), footer),
            Err(_) => panic!("the value is too large to be boxed"),
        };

    pub(crate) const KIND: &'static Kind = &Kind {
        type_id: TypeId::of::<T>(),
        type_name: type_name::<T>,
        layout: Self::LAYOUT.0,
        as_any: Self::as_any,
        as_traced: None,
        destroy: Self::destroy,
    };

    /// The value of a box.
    ///
    /// # Safety
    ///
    /// `data` is the footer of a box of a `T`, with the provenance of the whole box.
    #[inline]
    pub(crate) unsafe fn value(data: NonNull<VMExternData>) -> NonNull<T> {
        // SAFETY: the caller guarantees a box of a `T`, which starts so many bytes before its
        // footer.
        unsafe { data.byte_sub(Self::LAYOUT.1).cast() }
    }

    /// The value of a box, as any type.
    ///
    /// # Safety
    ///
    /// As for [`value`](Self::value).
    unsafe fn as_any(data: NonNull<VMExternData>) -> NonNull<dyn Any> {
        // SAFETY: the caller keeps the contract of `value`.
        unsafe { Self::value(data) }
    }

    /// Drops the value and frees the box, also if the value's destructor panics.
    ///
    /// # Safety
    ///
    /// As for [`value`](Self::value), and no reference to the box remains.
    #[inline(never)]
    unsafe fn destroy(data: NonNull<VMExternData>) {
        // SAFETY: the caller guarantees that the box is still allocated.
        unsafe { data.as_ref() }.ref_count.kill(0);
        let _free = FreeOnDrop::<T>(data, PhantomData);
        // SAFETY: the caller guarantees that nobody else reaches the value, so it is dropped once.
        unsafe { Self::value(data).drop_in_place() }
    }
}

/// Frees the memory of a dead box of a `T` when it goes out of scope.
struct FreeOnDrop<T: Any>(NonNull<VMExternData>, PhantomData<T>);

impl<T: Any> Drop for FreeOnDrop<T> {
    #[inline]
    fn drop(&mut self) {
        let (layout, _) = KindOf::<T>::LAYOUT;
        if quarantine::CHECKS {
            if let Some(Retired(data)) = quarantine::retire(Retired(self.0.cast()), layout.size()) {
                // SAFETY: the quarantine gives back dead boxes, destroyed ones, each once.
                unsafe { free(data.cast()) }
            }
            return;
        }
        // SAFETY: whoever made this guarantees a dead box of a `T`, allocated with this layout.
        unsafe { dealloc(KindOf::<T>::value(self.0).as_ptr().cast(), layout) }
    }
}

/// Frees a box whose value is gone already, or keeps its memory in the quarantine.
///
/// # Safety
///
/// As for [`free`].
#[inline]
pub(crate) unsafe fn retire_or_free(data: NonNull<VMExternData>) {
    if !quarantine::CHECKS {
        // SAFETY: the caller keeps the contract.
        return unsafe { free(data) };
    }
    // SAFETY: the caller guarantees that the box is still allocated.
    let bytes = unsafe { data.as_ref() }.kind.layout.size();
    if let Some(Retired(data)) = quarantine::retire(Retired(data.cast()), bytes) {
        // SAFETY: the quarantine gives back dead boxes, destroyed ones, each once.
        unsafe { free(data.cast()) }
    }
}

/// Frees a box whose value is gone already.
///
/// # Safety
///
/// `data` is the footer of a box whose value was dropped, and nobody uses the box again.
#[inline]
unsafe fn free(data: NonNull<VMExternData>) {
    // SAFETY: the caller guarantees that the box is still allocated.
    let kind = unsafe { data.as_ref() }.kind;
    // SAFETY: every box is allocated with the layout of its kind, and starts with its value.
    unsafe { dealloc((kind.as_any)(data).as_ptr().cast(), kind.layout) }
}

/// Sets how many dead boxes keep their memory, and returns the number that holds from now on.
///
/// It is 1024 at most. Boxes of more than 1024 bytes are never kept. Builds with debug assertions
/// or with the feature `quarantine` begin with 256. Other builds have no quarantine: it stays 0.
///
/// It takes a lock that interrupted code may hold, so an interrupt handler must not call it.
///
/// ```
/// use vmexternref_core::set_quarantine;
///
/// assert!(set_quarantine(16) <= 16);
/// ```
pub fn set_quarantine(boxes: usize) -> usize {
    loop {
        match quarantine::limit(boxes) {
            Ok(limit) => return limit,
            // SAFETY: the quarantine gives back dead boxes, destroyed ones, each once.
            Err(Retired(data)) => unsafe { free(data.cast()) },
        }
    }
}

/// The type of a freed box that the quarantine holds.
pub(crate) fn type_name_of_freed(word: usize) -> Option<&'static str> {
    let held = quarantine::CHECKS && quarantine::holds(word);
    // SAFETY: the quarantine keeps the memory of the box.
    held.then(|| unsafe { VMExternData::at(word) }.type_name())
}

/// There was no memory; what was to be stored comes back.
///
/// ```
/// use vmexternref_core::*;
///
/// /// Boxes a name, or gives it back.
/// fn boxed(name: String) -> Result<VMExternRef, String> {
///     VMExternRef::try_new(name).map_err(|OutOfMemory(name)| name)
/// }
///
/// let registry = StackMapRegistry::new();
/// let table = VMExternRefActivationsTable::with_capacity(1, 1);
/// table.insert_without_gc(boxed("the only one that fits".into())?);
/// let second = boxed("the second".into())?;
/// // SAFETY: no compiled code runs. The walk proves nothing, so the table stays full.
/// let inserted = unsafe {
///     let walker = RecordedWalker::new(vec![], WalkEnd::Unproven);
///     table.try_insert_with_gc(second, &registry, &walker)
/// };
/// let Err(OutOfMemory((second, report))) = inserted else {
///     panic!("the table has its maximum");
/// };
/// assert_eq!(second.downcast_ref::<String>().unwrap(), "the second");
/// assert_eq!(report.unwrap().outcome, GcOutcome::KeptUnproven);
/// # Ok::<(), String>(())
/// ```
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
    /// Calls [`handle_alloc_error`] when out of memory; see [`try_new`](Self::try_new).
    #[must_use]
    pub fn new<T: Any>(value: T) -> Self {
        Self::new_with(|| value)
    }

    /// Allocates a box first, and then lets `construct` fill it in place.
    ///
    /// If `construct` panics the allocation is freed again. Calls [`handle_alloc_error`] when out
    /// of memory.
    #[must_use]
    pub fn new_with<T: Any>(construct: impl FnOnce() -> T) -> Self {
        match Allocation::<T>::new() {
            Some(allocation) => allocation.fill(construct),
            None => handle_alloc_error(KindOf::<T>::LAYOUT.0),
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

    /// The word that compiled code holds; the caller keeps the reference.
    ///
    /// Its provenance is exposed, so that compiled code and collections may use it.
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
    /// `raw` came from [`into_raw`](Self::into_raw), or compiled code counted it; the reference it
    /// owns is not used again. It is neither null nor an
    /// [immediate](crate::VMExternRefActivationsTable::set_immediate_bits).
    #[inline]
    #[must_use]
    pub unsafe fn from_raw(raw: *mut u8) -> Self {
        debug_assert!(
            !raw.is_null(),
            "the null reference is `None`, not a VMExternRef"
        );
        let data = ptr::with_exposed_provenance_mut::<VMExternData>(raw.addr());
        // SAFETY: the caller guarantees that `raw` is the address of a live box, so it is not null.
        let reference = Self(unsafe { NonNull::new_unchecked(data) });
        reference.check("passed to `from_raw` or `clone_from_raw`");
        reference
    }

    /// Makes a new reference to the box whose word is `raw`.
    ///
    /// # Safety
    ///
    /// `raw` is the word of a box that is alive: neither null nor an
    /// [immediate](crate::VMExternRefActivationsTable::set_immediate_bits).
    #[inline]
    #[must_use]
    pub unsafe fn clone_from_raw(raw: *mut u8) -> Self {
        // SAFETY: the caller guarantees a live box; `ManuallyDrop` keeps the borrowed reference
        // owned by whoever owned it.
        let borrowed = ManuallyDrop::new(unsafe { Self::from_raw(raw) });
        Self::clone(&borrowed)
    }

    /// How many references there are, compiled code's included.
    #[inline]
    #[must_use]
    pub fn strong_count(&self) -> usize {
        self.check("counted");
        self.data().ref_count.references()
    }

    /// The value, if it is a `T`.
    ///
    /// Equivalent to `Any::downcast_ref`, without a call.
    #[inline]
    #[must_use]
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        self.check("downcast");
        if self.data().kind.type_id != TypeId::of::<T>() {
            return None;
        }
        // SAFETY: the box is one of a `T`, for its kind says so, and `self` keeps it alive.
        Some(unsafe { KindOf::<T>::value(self.0).as_ref() })
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

    /// The footer, with the provenance of the whole box.
    #[inline]
    pub(crate) fn footer(&self) -> NonNull<VMExternData> {
        self.0
    }

    #[inline]
    pub(crate) fn data(&self) -> &VMExternData {
        // SAFETY: a `VMExternRef` holds one of the references that keep its box allocated.
        unsafe { self.0.as_ref() }
    }

    /// A new reference to a box; `None` if it is dead.
    ///
    /// # Safety
    ///
    /// `data` is the footer of an allocated box, with the provenance of the whole box.
    #[inline]
    pub(crate) unsafe fn to_living(data: NonNull<VMExternData>) -> Option<Self> {
        // SAFETY: the caller guarantees an allocated box.
        let references = unsafe { data.as_ref() }.ref_count().references();
        // SAFETY: a box that has references is alive.
        (references != 0).then(|| unsafe { Self::clone_from_raw(data.as_ptr().cast()) })
    }

    /// Whether the box is a traced one.
    #[inline]
    pub(crate) fn is_traced(&self) -> bool {
        self.data().kind.as_traced.is_some()
    }

    /// The value, if the box is a traced one.
    #[inline]
    pub(crate) fn as_traced(&self) -> Option<&dyn Trace> {
        let as_traced = self.data().kind.as_traced?;
        // SAFETY: the box is one of its kind, and lives as long as this reference.
        Some(unsafe { as_traced(self.0).as_ref() })
    }

    /// Aborts if the box is dead, in builds that look for that.
    #[inline]
    pub(crate) fn check(&self, use_of_it: &str) {
        if quarantine::CHECKS && self.data().ref_count.is_dead() {
            let (word, of) = (self.0, self.data().type_name());
            abort_with(format_args!(
                "use of a freed reference: {word:p}, a {of}, was {use_of_it}"
            ));
        }
    }

    /// Gives up this reference; `Some` is the dead box, if it was the last.
    #[inline]
    pub(crate) fn release(self) -> Option<DeadBox> {
        let this = ManuallyDrop::new(self);
        this.data().ref_count.decrement().then_some(DeadBox(this.0))
    }
}

impl Clone for VMExternRef {
    #[inline]
    fn clone(&self) -> Self {
        self.check("cloned");
        // Counted in the clone: for all that the compiler knows, counting could change `self`.
        let clone = ManuallyDrop::new(Self(self.0));
        clone.data().ref_count.increment();
        ManuallyDrop::into_inner(clone)
    }
}

impl Drop for VMExternRef {
    #[inline]
    fn drop(&mut self) {
        self.check("dropped");
        if self.data().ref_count.decrement() {
            DeadBox(self.0).destroy();
        }
    }
}

impl Deref for VMExternRef {
    type Target = dyn Any;

    #[inline]
    fn deref(&self) -> &dyn Any {
        self.check("dereferenced");
        // SAFETY: the box is one of its kind, and lives as long as this reference.
        unsafe { (self.data().kind.as_any)(self.0).as_ref() }
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

/// A box whose last reference is gone, and whose value waits for its destructor.
///
/// Dropping it does nothing: the box leaks.
pub(crate) struct DeadBox(NonNull<VMExternData>);

impl DeadBox {
    /// Drops the value and frees the box.
    #[inline]
    pub(crate) fn destroy(self) {
        // SAFETY: the last reference is gone, this is the only handle to the box, and the box is
        // one of its kind.
        unsafe { (self.0.as_ref().kind.destroy)(self.0) }
    }

    /// The address of the box, from which [`at`](Self::at) makes the handle again.
    #[inline]
    pub(crate) fn into_address(self) -> usize {
        self.0.as_ptr().expose_provenance()
    }

    /// The value.
    ///
    /// # Safety
    ///
    /// Nobody destroys the box while the result is used.
    pub(crate) unsafe fn value<'a>(&self) -> &'a dyn Any {
        // SAFETY: the box is one of its kind, and its value waits for its destructor.
        unsafe { (self.0.as_ref().kind.as_any)(self.0).as_ref() }
    }

    /// The handle to a box whose last reference was given up.
    ///
    /// # Safety
    ///
    /// No other handle to the box exists, and nobody has destroyed it.
    #[inline]
    pub(crate) unsafe fn new(data: NonNull<VMExternData>) -> Self {
        Self(data)
    }

    /// The handle that [`into_address`](Self::into_address) gave up; none at 0.
    ///
    /// # Safety
    ///
    /// The address is used once for each time that it was given up.
    #[inline]
    pub(crate) unsafe fn at(address: usize) -> Option<Self> {
        NonNull::new(ptr::with_exposed_provenance_mut(address)).map(Self)
    }

    #[inline]
    pub(crate) fn ref_count(&self) -> &RefCount {
        // SAFETY: a dead box stays allocated until it is destroyed, which takes the handle.
        unsafe { self.0.as_ref() }.ref_count()
    }
}

/// Destroys a box whose count compiled code has brought to zero.
///
/// Compiled code calls it after its inline decrement, when every store that belongs to the
/// operation is complete: the value's destructor runs here, and may call back into Wasm. So the
/// call leaves Wasm through an exit trampoline, as each call does that can collect. A destructor
/// that panics aborts the process, because a panic cannot pass through compiled frames.
///
/// # Safety
///
/// `raw` is the word of a box whose count has just become zero, and no reference to the box
/// remains.
pub unsafe extern "C" fn drop_extern_ref(raw: *mut u8) {
    let data = ptr::with_exposed_provenance_mut::<VMExternData>(raw.addr());
    // SAFETY: the caller guarantees that `raw` is a box, so not null, and that nobody else reaches
    // it.
    let dead = DeadBox(unsafe { NonNull::new_unchecked(data) });
    debug_assert_eq!(
        dead.ref_count().references(),
        0,
        "compiled code has given up the last reference"
    );
    if quarantine::CHECKS && dead.ref_count().is_dead() {
        // SAFETY: the box is dead, and its memory is still there to say so.
        let of = unsafe { &*data }.type_name();
        abort_with(format_args!(
            "use of a freed reference: {raw:p}, a {of}, was freed again"
        ));
    }
    dead.destroy();
}

/// Memory for a box whose value is not there yet.
struct Allocation<T: Any> {
    start: NonNull<u8>,
    value: PhantomData<T>,
}

impl<T: Any> Allocation<T> {
    fn new() -> Option<Self> {
        let (layout, _) = KindOf::<T>::LAYOUT;
        // SAFETY: the footer has two words, so the layout is not empty.
        let start = NonNull::new(unsafe { alloc(layout) })?;
        Some(Self {
            start,
            value: PhantomData,
        })
    }

    #[inline]
    fn fill(self, construct: impl FnOnce() -> T) -> VMExternRef {
        // SAFETY: the allocation begins with room for a `T`, and is aligned for it.
        unsafe { self.start.cast::<T>().write(construct()) };
        // SAFETY: the footer lies inside the allocation, behind the value.
        let footer: NonNull<VMExternData> = unsafe { self.start.add(KindOf::<T>::LAYOUT.1) }.cast();
        // SAFETY: `footer` is aligned, for the layout of the box has it there.
        unsafe {
            footer.write(VMExternData::new(KindOf::<T>::KIND));
        }
        forget(self);
        // Collections find boxes by words of frames, also those that never went through `as_raw`.
        footer.as_ptr().expose_provenance();
        VMExternRef(footer)
    }
}

impl<T: Any> Drop for Allocation<T> {
    fn drop(&mut self) {
        // SAFETY: `new` took `start` from the global allocator with this layout.
        unsafe { dealloc(self.start.as_ptr(), KindOf::<T>::LAYOUT.0) }
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
        let count: *mut usize =
            ptr::with_exposed_provenance_mut(raw.addr() + usize::from(Offsets::HOST.ref_count()));
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
