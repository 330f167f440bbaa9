//! The smallest host: makes references, inserts them, collects, and drops them.
//!
//! What it takes of the flash is what `vmexternref-core` and a walker cost a microcontroller. Its
//! guest is written in assembly. It ends QEMU with exit code 33 if all went well, and 35 if not.

#![no_std]
#![no_main]

#[cfg(feature = "logger")]
mod logger;

core::cfg_select! {
    target_arch = "arm" => {
        use bare_metal_thumbv7em::exit;
        global_asm!(include_str!("thumbv7em.s"), options(raw));
    }
    target_arch = "riscv32" => {
        use bare_metal_riscv32::exit;
        global_asm!(include_str!("riscv32.s"), options(raw));
    }
}

use core::alloc::{GlobalAlloc, Layout};
use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use linked_list_allocator::Heap;
use vmexternref_core::{
    Matching, ModuleStackMaps, StackMap, StackMapRegistry, VMExternRef, VMExternRefActivationsTable,
};
use vmexternref_frame_pointer::{ActivationRecord, ActivationsWalker};

unsafe extern "C" {
    /// The entry trampoline of the guest, which calls `host` while it holds `reference`.
    ///
    /// The context begins with an activation record.
    fn enter_guest(context: *const (), reference: *mut u8, host: extern "C" fn(*const ()));
    static guest_start: u8;
    static guest_safepoint: u8;
    static guest_end: u8;
}

/// The heap, and its memory: there is one thread, and no interrupt.
struct Memory {
    free: UnsafeCell<Heap>,
    bytes: UnsafeCell<[u64; 1 << 10]>,
}

#[global_allocator]
static MEMORY: Memory = Memory {
    free: UnsafeCell::new(Heap::empty()),
    bytes: UnsafeCell::new([0; 1 << 10]),
};

// SAFETY: there is one thread.
unsafe impl Sync for Memory {}

// SAFETY: `Heap` keeps the contract, and one call at a time has it: there is one thread, and `Heap`
// does not call the host.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one call at a time has the heap, as said above.
        let block = unsafe { &mut *self.free.get() }.allocate_first_fit(layout);
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: one call at a time has the heap, and the caller guarantees a block of it.
        unsafe { (&mut *self.free.get()).deallocate(NonNull::new_unchecked(block), layout) }
    }
}

static REGISTRY: StackMapRegistry = StackMapRegistry::new();

/// The number of host objects alive.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// A host object.
struct Object;

impl Object {
    fn boxed() -> VMExternRef {
        ALIVE.fetch_add(1, Relaxed);
        VMExternRef::new(Self)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Relaxed);
    }
}

/// A host context.
#[repr(C)]
struct Context {
    record: ActivationRecord,
    table: VMExternRefActivationsTable,
}

/// Registers the guest's only function, and its safepoint.
fn register() -> Option<()> {
    let (start, safepoint, end) = (
        (&raw const guest_start).expose_provenance(),
        (&raw const guest_safepoint).addr(),
        (&raw const guest_end).addr(),
    );
    let length = u32::try_from(end - start).ok()?;
    let mut module = ModuleStackMaps::new(length, Matching::Exact);
    module.function(0..length).ok()?;
    let map = StackMap::new(Some(2), [0]).ok()?;
    let offset = u32::try_from(safepoint - start).ok()?;
    module.safepoint(offset, map).ok()?;
    REGISTRY.register(start, module).ok()?;
    Some(())
}

/// Collects while the guest holds a reference, which then is the only one left in the table.
extern "C" fn collect_in_guest(context: *const ()) {
    // SAFETY: the guest passes on what its only caller gave it: a context.
    let context = unsafe { &*context.cast::<Context>() };
    for _ in 0..20 {
        let walker = ActivationsWalker::new(&context.record);
        // SAFETY: the guest has recorded where it was left, and its only safepoint is registered.
        unsafe {
            let inserted = context
                .table
                .try_insert_with_gc(Object::boxed(), &REGISTRY, &walker);
            if inserted.is_err() {
                exit(false);
            }
        }
    }
    collect(context);
}

fn collect(context: &Context) {
    let walker = ActivationsWalker::new(&context.record);
    // SAFETY: the record says where compiled code was left, if it runs, and its only safepoint is
    // registered.
    unsafe { vmexternref_core::gc(&REGISTRY, &context.table, &walker) };
}

/// Whether each object lives exactly as long as the guest or the host holds it.
fn run() -> Option<bool> {
    register()?;
    let context = Context {
        record: ActivationRecord::new(),
        table: VMExternRefActivationsTable::with_capacity(8, 64),
    };
    let object = Object::boxed();
    let word = object.as_raw();
    context.table.try_insert_without_gc(object).ok()?;
    // SAFETY: the trampolines keep the record, and the reference is in the table.
    unsafe {
        context
            .record
            .enter(|| enter_guest((&raw const context).cast(), word, collect_in_guest));
    }
    let held = ALIVE.load(Relaxed);
    collect(&context);
    Some(held == 1 && ALIVE.load(Relaxed) == 0)
}

/// The start-up code calls this.
#[unsafe(no_mangle)]
extern "C" fn kernel_main() -> ! {
    // SAFETY: nothing was allocated yet, and the heap alone uses the bytes.
    unsafe {
        let bytes = MEMORY.bytes.get();
        (&mut *MEMORY.free.get()).init(bytes.cast(), size_of_val(&*bytes));
    }
    #[cfg(feature = "logger")]
    logger::install();
    exit(run() == Some(true))
}

/// The exception vectors lead here.
#[unsafe(no_mangle)]
extern "C" fn kernel_fault(_cause: usize, _pc: usize, _address: usize, _sp: usize) -> ! {
    exit(false)
}

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    exit(false)
}
