//! The functions of the runtime that compiled code calls through builtin trampolines.
//!
//! Each gets the context of the running instance. The trampoline has completed the activation
//! record. References among the arguments are alive until something collects. A function that needs
//! one longer clones it first.

use crate::engine::Abandoned;
use crate::error::Trap;
use crate::item::InstanceItem;
use crate::store::{Store, StoreInner};
use crate::value::Reference;
use core::mem::ManuallyDrop;
use vmexternref_core::{OutOfMemory, VMExternRef, drop_extern_ref};
use vmexternref_engine_abi::{TrapCode, VMContext};

/// The result of a `grow` instruction that did nothing: -1.
const NOT_GROWN: u32 = u32::MAX;

/// The instance whose compiled code called.
///
/// Only a call by compiled code makes one.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Running<'a>(&'a InstanceItem);

impl<'a> Running<'a> {
    /// The instance that a context belongs to.
    ///
    /// # Safety
    ///
    /// Code of the instance runs, and passed its context to a builtin. The instance outlives `'a`.
    pub(super) unsafe fn from_context(context: *const VMContext) -> Self {
        // SAFETY: the context of running code is the first field of its instance.
        Self(unsafe { &*context.cast() })
    }

    pub(super) fn store(self) -> ManuallyDrop<Store> {
        // SAFETY: the `invoke` that entered the running code keeps the store alive.
        unsafe { Store::borrow_raw(self.0.vm.store) }
    }

    /// The instance. Collects first in zeal mode.
    fn instance(self) -> &'a InstanceItem {
        self.store().inner().zeal();
        self.0
    }

    /// Clones a reference of the type of a table. Then collects in zeal mode.
    ///
    /// # Safety
    ///
    /// `raw` is a live reference of the table's type, or 0.
    unsafe fn clone_reference(self, table: u32, raw: usize) -> Reference {
        let ty = self.0.table(table).element();
        // SAFETY: the caller gives a live reference of the table's type.
        let reference = unsafe { Reference::clone_from_raw(ty, raw) };
        self.store().inner().zeal();
        reference
    }

    /// Records `trap`.
    fn abandon(self, trap: Trap) -> Abandoned {
        self.store().inner().trap.set(Some(trap));
        Abandoned
    }
}

/// The result of a builtin that can trap: a trap's number, or 0.
fn status<E: Into<TrapCode>>(result: Result<(), E>) -> u32 {
    result.map_or_else(|error| error.into().number(), |()| 0)
}

pub(super) fn raise(running: Running<'_>, number: u32) -> Abandoned {
    let trap = TrapCode::from_number(number).expect("compiled code raises known traps");
    running.abandon(trap.into())
}

/// Inserts a reference into the activations table, and another one that a collection could free.
///
/// # Safety
///
/// `raw` is a live reference, and the caller's own if `owned` is not 0. `kept` is a live reference
/// or null.
pub(super) unsafe fn insert_ref(
    running: Running<'_>,
    raw: *mut u8,
    kept: *mut u8,
    owned: u32,
) -> Result<(), Abandoned> {
    let reference = match owned {
        // SAFETY: the caller gives a live reference, and nothing has collected yet.
        0 => unsafe { VMExternRef::clone_from_raw(raw) },
        // SAFETY: the caller gives up its count.
        _ => unsafe { VMExternRef::from_raw(raw) },
    };
    // SAFETY: the caller gives a live reference if it is not null, and nothing has collected yet.
    let kept = (!kept.is_null()).then(|| unsafe { VMExternRef::clone_from_raw(kept) });
    let inserted = insert_both(running.store().inner(), reference, kept);
    inserted.map_err(|_| running.abandon(TrapCode::OutOfMemory.into()))
}

/// Makes room for both references, and then inserts them without collecting.
fn insert_both(
    store: &StoreInner,
    reference: VMExternRef,
    kept: Option<VMExternRef>,
) -> Result<(), OutOfMemory> {
    store.reserve(1 + usize::from(kept.is_some()))?;
    store.insert(reference)?;
    kept.map_or(Ok(()), |kept| store.insert(kept))
}

/// Destroys an object.
///
/// # Safety
///
/// `raw` is a reference whose count is 0, and no word of it is used again.
pub(super) unsafe extern "C" fn drop_ref(running: Running<'_>, raw: *mut u8) {
    // SAFETY: the caller has taken the last count of the object and keeps no word of it.
    unsafe { drop_extern_ref(raw) };
    running.store().inner().zeal();
}

pub(super) extern "C" fn zeal(running: Running<'_>) {
    running.store().inner().gc();
}

pub(super) extern "C" fn memory_grow(running: Running<'_>, memory: u32, delta: u32) -> u32 {
    let grown = running.instance().memory(memory).grow(delta);
    grown.unwrap_or(NOT_GROWN)
}

pub(super) extern "C" fn memory_copy(
    running: Running<'_>,
    to_memory: u32,
    from_memory: u32,
    to: u32,
    from: u32,
    count: u32,
) -> u32 {
    let instance = running.instance();
    let source = instance.memory(from_memory);
    status(instance.memory(to_memory).copy(to, source, from, count))
}

pub(super) extern "C" fn memory_fill(
    running: Running<'_>,
    memory: u32,
    to: u32,
    byte: u32,
    count: u32,
) -> u32 {
    let [byte, ..] = byte.to_le_bytes();
    status(running.instance().memory(memory).fill(to, byte, count))
}

pub(super) extern "C" fn memory_init(
    running: Running<'_>,
    memory: u32,
    segment: u32,
    to: u32,
    from: u32,
    count: u32,
) -> u32 {
    let instance = running.instance();
    status(instance.memory_init(memory, segment, to, from, count))
}

pub(super) extern "C" fn data_drop(running: Running<'_>, segment: u32) {
    running.instance().data_drop(segment);
}

/// Grows a table.
///
/// # Safety
///
/// `initial` is a live reference of the table's type, or 0.
pub(super) unsafe extern "C" fn table_grow(
    running: Running<'_>,
    table: u32,
    initial: usize,
    delta: u32,
) -> u32 {
    // SAFETY: the caller gives a live reference of the table's type.
    let initial = unsafe { running.clone_reference(table, initial) };
    let grown = running.0.table(table).grow(delta, &initial);
    grown.unwrap_or(NOT_GROWN)
}

/// Fills a part of a table.
///
/// # Safety
///
/// `value` is a live reference of the table's type, or 0.
pub(super) unsafe extern "C" fn table_fill(
    running: Running<'_>,
    table: u32,
    to: u32,
    value: usize,
    count: u32,
) -> u32 {
    // SAFETY: the caller gives a live reference of the table's type.
    let value = unsafe { running.clone_reference(table, value) };
    status(running.0.table(table).fill(to, &value, count))
}

pub(super) extern "C" fn table_copy(
    running: Running<'_>,
    to_table: u32,
    from_table: u32,
    to: u32,
    from: u32,
    count: u32,
) -> u32 {
    let instance = running.instance();
    let source = instance.table(from_table);
    status(instance.table(to_table).copy(to, source, from, count))
}

pub(super) extern "C" fn table_init(
    running: Running<'_>,
    table: u32,
    segment: u32,
    to: u32,
    from: u32,
    count: u32,
) -> u32 {
    let instance = running.instance();
    status(instance.table_init(table, segment, to, from, count))
}

pub(super) extern "C" fn elem_drop(running: Running<'_>, segment: u32) {
    running.instance().elem_drop(segment);
}
