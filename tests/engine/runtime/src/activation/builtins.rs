//! The functions that compiled code calls through builtin trampolines.
//!
//! Each gets the context of the running instance. The trampoline has completed the activation
//! record. References among the arguments are alive until something collects. A function that needs
//! one longer clones it first.

use crate::arch;
use crate::error::Trap;
use crate::item::InstanceItem;
use crate::store::{Store, StoreInner};
use crate::value::Reference;
use core::mem::ManuallyDrop;
use core::ptr;
use vmexternref_core::{OutOfMemory, VMExternRef, drop_extern_ref};
use vmexternref_engine_abi::{Builtin, TrapCode};

/// The result of a `grow` instruction that did nothing: -1.
const NOT_GROWN: u32 = u32::MAX;

/// The addresses of all builtins, in the order of their numbers.
pub(crate) static BUILTINS: Addresses = Addresses(addresses());

/// Addresses of functions, which any thread may call.
pub(crate) struct Addresses([*const u8; Builtin::ALL.len()]);

// SAFETY: the addresses belong to functions and never change.
unsafe impl Sync for Addresses {}

impl Addresses {
    /// The array, for a [`VMContext`](crate::VMContext).
    pub(crate) const fn as_ptr(&self) -> *const *const u8 {
        self.0.as_ptr()
    }
}

const fn addresses() -> [*const u8; Builtin::ALL.len()] {
    let mut addresses = [ptr::null(); Builtin::ALL.len()];
    let mut index = 0;
    while index < addresses.len() {
        addresses[index] = address(Builtin::ALL[index]);
        index += 1;
    }
    addresses
}

const fn address(builtin: Builtin) -> *const u8 {
    match builtin {
        Builtin::Raise => raise as *const u8,
        Builtin::ResumeTrap => resume_trap as *const u8,
        Builtin::InsertRef => insert_ref as *const u8,
        Builtin::DropRef => drop_ref as *const u8,
        Builtin::Zeal => zeal as *const u8,
        Builtin::MemoryGrow => memory_grow as *const u8,
        Builtin::MemoryCopy => memory_copy as *const u8,
        Builtin::MemoryFill => memory_fill as *const u8,
        Builtin::MemoryInit => memory_init as *const u8,
        Builtin::DataDrop => data_drop as *const u8,
        Builtin::TableGrow => table_grow as *const u8,
        Builtin::TableFill => table_fill as *const u8,
        Builtin::TableCopy => table_copy as *const u8,
        Builtin::TableInit => table_init as *const u8,
        Builtin::ElemDrop => elem_drop as *const u8,
    }
}

/// The instance whose compiled code called.
///
/// Only a call by compiled code makes one.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Running<'a>(&'a InstanceItem);

impl<'a> Running<'a> {
    fn store(self) -> ManuallyDrop<Store> {
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

    /// Continues at the handler of the youngest entry trampoline.
    ///
    /// # Safety
    ///
    /// No frame between compiled code and this call has anything left to do.
    unsafe fn resume(self) -> ! {
        let store = self.store();
        let context = store.context();
        let (pc, sp) = (context.handler_pc.get(), context.handler_sp.get());
        // SAFETY: the entry trampoline of the running frames recorded its handler, and `invoke`
        // restores outer ones.
        unsafe { arch::resume(pc, sp, context.handler_fp.get()) }
    }

    /// Records `trap` and continues at the handler of the youngest entry trampoline.
    ///
    /// # Safety
    ///
    /// As for [`resume`](Self::resume).
    unsafe fn abandon(self, trap: Trap) -> ! {
        self.store().inner().trap.set(Some(trap));
        // SAFETY: the caller keeps the contract, and the handle above needs no drop.
        unsafe { self.resume() }
    }
}

/// The result of a builtin that can trap: a trap's number, or 0.
fn status<E: Into<TrapCode>>(result: Result<(), E>) -> u32 {
    result.map_or_else(|error| error.into().number(), |()| 0)
}

extern "C" fn raise(running: Running<'_>, number: u32) -> ! {
    let trap = TrapCode::from_number(number).expect("compiled code raises known traps");
    // SAFETY: compiled code called, and its trampoline has nothing left to do.
    unsafe { running.abandon(trap.into()) }
}

extern "C" fn resume_trap(running: Running<'_>) -> ! {
    // SAFETY: an exit trampoline called, and has nothing left to do.
    unsafe { running.resume() }
}

/// Inserts a reference into the activations table, and another one that a collection could free.
///
/// # Safety
///
/// `raw` is a live reference, and the caller's own if `owned` is not 0. `kept` is a live reference
/// or null.
unsafe extern "C" fn insert_ref(running: Running<'_>, raw: *mut u8, kept: *mut u8, owned: u32) {
    let reference = match owned {
        // SAFETY: the caller gives a live reference, and nothing has collected yet.
        0 => unsafe { VMExternRef::clone_from_raw(raw) },
        // SAFETY: the caller gives up its count.
        _ => unsafe { VMExternRef::from_raw(raw) },
    };
    // SAFETY: the caller gives a live reference if it is not null, and nothing has collected yet.
    let kept = (!kept.is_null()).then(|| unsafe { VMExternRef::clone_from_raw(kept) });
    if insert_both(running.store().inner(), reference, kept).is_err() {
        // SAFETY: `insert_both` has taken the references, and the handle needs no drop.
        unsafe { running.abandon(TrapCode::OutOfMemory.into()) }
    }
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
unsafe extern "C" fn drop_ref(running: Running<'_>, raw: *mut u8) {
    // SAFETY: the caller has taken the last count of the object and keeps no word of it.
    unsafe { drop_extern_ref(raw) };
    running.store().inner().zeal();
}

extern "C" fn zeal(running: Running<'_>) {
    running.store().inner().gc();
}

extern "C" fn memory_grow(running: Running<'_>, memory: u32, delta: u32) -> u32 {
    let grown = running.instance().memory(memory).grow(delta);
    grown.unwrap_or(NOT_GROWN)
}

extern "C" fn memory_copy(
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

extern "C" fn memory_fill(
    running: Running<'_>,
    memory: u32,
    to: u32,
    byte: u32,
    count: u32,
) -> u32 {
    let [byte, ..] = byte.to_le_bytes();
    status(running.instance().memory(memory).fill(to, byte, count))
}

extern "C" fn memory_init(
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

extern "C" fn data_drop(running: Running<'_>, segment: u32) {
    running.instance().data_drop(segment);
}

/// Grows a table.
///
/// # Safety
///
/// `initial` is a live reference of the table's type, or 0.
unsafe extern "C" fn table_grow(
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
unsafe extern "C" fn table_fill(
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

extern "C" fn table_copy(
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

extern "C" fn table_init(
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

extern "C" fn elem_drop(running: Running<'_>, segment: u32) {
    running.instance().elem_drop(segment);
}
