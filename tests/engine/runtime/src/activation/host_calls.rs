//! How compiled code reaches the runtime: machine code by address, bytecode by number.

use crate::activation::builtins::{self, Running};
use crate::engine::{Abandoned, Arguments, resume};
use core::ptr;
use vmexternref_engine_abi::{Builtin, HostCall, VMContext, VMHostFunc};

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
        Builtin::Raise => native_raise as *const u8,
        Builtin::ResumeTrap => native_resume_trap as *const u8,
        Builtin::InsertRef => native_insert_ref as *const u8,
        Builtin::DropRef => builtins::drop_ref as *const u8,
        Builtin::Zeal => builtins::zeal as *const u8,
        Builtin::MemoryGrow => builtins::memory_grow as *const u8,
        Builtin::MemoryCopy => builtins::memory_copy as *const u8,
        Builtin::MemoryFill => builtins::memory_fill as *const u8,
        Builtin::MemoryInit => builtins::memory_init as *const u8,
        Builtin::DataDrop => builtins::data_drop as *const u8,
        Builtin::TableGrow => builtins::table_grow as *const u8,
        Builtin::TableFill => builtins::table_fill as *const u8,
        Builtin::TableCopy => builtins::table_copy as *const u8,
        Builtin::TableInit => builtins::table_init as *const u8,
        Builtin::ElemDrop => builtins::elem_drop as *const u8,
    }
}

/// The builtin that raises a trap, for machine code.
extern "C" fn native_raise(running: Running<'_>, number: u32) -> ! {
    let Abandoned = builtins::raise(running, number);
    // SAFETY: machine code called, and its trampoline has nothing left to do.
    unsafe { resume(running.store().context()) }
}

/// The builtin that goes on where a host function has trapped, for machine code.
extern "C" fn native_resume_trap(running: Running<'_>) -> ! {
    // SAFETY: an exit trampoline called, and has nothing left to do.
    unsafe { resume(running.store().context()) }
}

/// The builtin that inserts references, for machine code.
///
/// # Safety
///
/// As for [`builtins::insert_ref`].
unsafe extern "C" fn native_insert_ref(
    running: Running<'_>,
    raw: *mut u8,
    kept: *mut u8,
    owned: u32,
) {
    // SAFETY: the caller keeps the contract.
    if let Err(Abandoned) = unsafe { builtins::insert_ref(running, raw, kept, owned) } {
        // SAFETY: machine code called, and its trampoline has nothing left to do.
        unsafe { resume(running.store().context()) }
    }
}

/// Does what bytecode calls the host for, and returns the result, 0 if there is none.
pub(super) fn call_by_number(call: HostCall, args: &Arguments) -> Result<u32, Abandoned> {
    match call {
        HostCall::Builtin(builtin) => call_builtin(builtin, args),
        HostCall::Function => call_host_function(args),
    }
}

fn call_host_function(args: &Arguments) -> Result<u32, Abandoned> {
    let host: *const VMHostFunc = ptr::with_exposed_provenance(args.word(0));
    let caller: *const VMContext = ptr::with_exposed_provenance(args.word(1));
    let values = ptr::with_exposed_provenance_mut(args.word(2));
    // SAFETY: an exit trampoline passes the `VMHostFunc` of the function that was called, its
    // caller's context, and slots for its type.
    match unsafe { ((*host).call)(host, caller, values) } {
        0 => Ok(0),
        _ => Err(Abandoned),
    }
}

fn call_builtin(builtin: Builtin, args: &Arguments) -> Result<u32, Abandoned> {
    // SAFETY: the first argument of a builtin is the context of the instance that runs.
    let running = unsafe { Running::from_context(ptr::with_exposed_provenance(args.word(0))) };
    let (int, word) = (|index| args.int(index), |index| args.word(index));
    let reference = |index| ptr::with_exposed_provenance_mut(args.word(index));
    Ok(match builtin {
        Builtin::Raise => return Err(builtins::raise(running, int(1))),
        Builtin::ResumeTrap => return Err(Abandoned),
        Builtin::InsertRef => {
            // SAFETY: compiled code passes what the builtin asks for.
            unsafe { builtins::insert_ref(running, reference(1), reference(2), int(3)) }?;
            0
        }
        Builtin::DropRef => {
            // SAFETY: as above.
            unsafe { builtins::drop_ref(running, reference(1)) };
            0
        }
        Builtin::Zeal => {
            builtins::zeal(running);
            0
        }
        Builtin::MemoryGrow => builtins::memory_grow(running, int(1), int(2)),
        Builtin::MemoryCopy => {
            builtins::memory_copy(running, int(1), int(2), int(3), int(4), int(5))
        }
        Builtin::MemoryFill => builtins::memory_fill(running, int(1), int(2), int(3), int(4)),
        Builtin::MemoryInit => {
            builtins::memory_init(running, int(1), int(2), int(3), int(4), int(5))
        }
        Builtin::DataDrop => {
            builtins::data_drop(running, int(1));
            0
        }
        // SAFETY: compiled code passes what the builtin asks for.
        Builtin::TableGrow => unsafe { builtins::table_grow(running, int(1), word(2), int(3)) },
        Builtin::TableFill => {
            // SAFETY: as above.
            unsafe { builtins::table_fill(running, int(1), int(2), word(3), int(4)) }
        }
        Builtin::TableCopy => builtins::table_copy(running, int(1), int(2), int(3), int(4), int(5)),
        Builtin::TableInit => builtins::table_init(running, int(1), int(2), int(3), int(4), int(5)),
        Builtin::ElemDrop => {
            builtins::elem_drop(running, int(1));
            0
        }
    })
}
