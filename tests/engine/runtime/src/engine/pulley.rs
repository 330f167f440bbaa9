//! The interpreter of bytecode.

use crate::code::PlacedCode;
use crate::engine::{Abandoned, Arguments};
use crate::error::PlaceError;
use crate::heap::{Owned, try_box};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;
use core::ops::{ControlFlow, Range};
use core::ptr::NonNull;
use pulley_interpreter::XReg;
use pulley_interpreter::interp::{TrapKind, Val, Vm, XRegVal};
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{CompiledModule, HostCall, TrapCode, VMFuncRef};
use vmexternref_frame_pointer::ActivationRecord;
use vmexternref_pulley::{CallEnd, PulleyWalker, stack_bounds};

/// Bytecode, which the interpreter reads where it is.
struct Bytecode(Vec<u8>);

impl PlacedCode for Bytecode {
    fn base(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

/// Keeps the module's bytecode.
pub(super) fn place(module: &mut CompiledModule) -> Result<Box<dyn PlacedCode>, PlaceError> {
    let code = try_box(Bytecode(mem::take(&mut module.text)));
    Ok(code.map_err(|_| PlaceError::OutOfMemory)?)
}

/// An interpreter with a stack of its own.
pub(super) struct Interpreter {
    vm: Owned<Vm>,
    stack: Range<usize>,
}

impl Interpreter {
    /// An interpreter whose stack has `bytes`.
    pub(super) fn new(bytes: usize) -> Result<Self, OutOfMemory> {
        let vm = Vm::with_stack(bytes).map_err(|_| OutOfMemory(()))?;
        let stack = stack_bounds(&vm, bytes);
        let vm = Owned::try_new(vm).map_err(|_| OutOfMemory(()))?;
        Ok(Self { vm, stack })
    }

    /// The walker over its frames. Trampolines hold no references.
    pub(super) fn walker<'r>(&self, record: &'r ActivationRecord) -> PulleyWalker<'r> {
        PulleyWalker::new(record, self.stack.clone()).without_trampolines()
    }

    /// The interpreter, for calls on it.
    pub(super) const fn running(&self) -> Running {
        Running(self.vm.as_ptr())
    }
}

/// An interpreter that its stack keeps alive.
#[derive(Clone, Copy)]
pub(super) struct Running(NonNull<Vm>);

/// The argument registers of a call of the host.
const ARGUMENTS: [XReg; Arguments::MOST] =
    [XReg::x0, XReg::x1, XReg::x2, XReg::x3, XReg::x4, XReg::x5];

impl Running {
    fn arguments(self) -> Arguments {
        // SAFETY: the interpreter has stopped at a call of the host.
        let vm = unsafe { self.0.as_ref() };
        Arguments(ARGUMENTS.map(|register| vm[register].get_u64()))
    }

    fn set_result(mut self, result: u32) {
        // SAFETY: the interpreter has stopped at a call of the host.
        let vm = unsafe { self.0.as_mut() };
        vm[XReg::x0].set_u32(result);
    }
}

/// Calls a Wasm function through the entry trampoline of its type.
///
/// # Safety
///
/// As for [`Engine::call`](super::Engine::call), on an interpreter that outlives the
/// call and has this record.
// Not inlined, so that a call of machine code, beside it, stays small.
#[inline(never)]
pub(super) unsafe fn call(
    interpreter: Running,
    record: &ActivationRecord,
    func: &VMFuncRef,
    slots: *mut u64,
    mut host: impl FnMut(HostCall, &Arguments) -> Result<u32, Abandoned>,
) -> Result<(), Option<TrapCode>> {
    let vmctx = Val::from(func.vmctx.get().cast_mut());
    let wasm_call = Val::from(func.wasm_call.get().cast_mut());
    let args = [vmctx, vmctx, wasm_call, Val::XReg(XRegVal::new_ptr(slots))];
    let entry = NonNull::new(func.entry.cast_mut()).expect("a Wasm function has a trampoline");
    let host = |number| {
        let call = HostCall::from_number(number).expect("bytecode makes calls that are known");
        match host(call, &interpreter.arguments()) {
            Ok(result) => {
                interpreter.set_result(result);
                ControlFlow::Continue(())
            }
            Err(Abandoned) => ControlFlow::Break(()),
        }
    };
    // SAFETY: the entry trampoline is one that the compiler made for the function's type, and takes
    // these arguments; `host` writes to no register but that of results.
    let ended = unsafe { vmexternref_pulley::call(interpreter.0, record, entry, &args, host) };
    ended.map_err(|end| match end {
        CallEnd::Host(()) => None,
        CallEnd::Trap { kind, .. } => Some(trap_code(kind)),
    })
}

/// The code of a trap that the interpreter found.
///
/// Compiled functions look for all but an exhausted stack themselves.
fn trap_code(kind: Option<TrapKind>) -> TrapCode {
    match kind {
        Some(TrapKind::StackOverflow) => TrapCode::StackOverflow,
        Some(TrapKind::DivideByZero) => TrapCode::IntegerDivideByZero,
        Some(TrapKind::IntegerOverflow) => TrapCode::IntegerOverflow,
        Some(TrapKind::BadConversionToInteger) => TrapCode::InvalidConversionToInteger,
        Some(TrapKind::MemoryOutOfBounds) => TrapCode::MemoryOutOfBounds,
        Some(TrapKind::DisabledOpcode) | None => TrapCode::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::{Interpreter, place};
    use crate::error::LoadError;
    use crate::store::{Limits, Store};
    use crate::{Module, Target};
    use alloc::sync::Arc;
    use alloc::vec;
    use vmexternref_core::{StackMapRegistry, StackWalker, WalkEnd};
    use vmexternref_engine_abi::CompiledModule;
    use vmexternref_frame_pointer::ActivationRecord;

    fn store(interpreter_stack_bytes: usize) -> Option<Store> {
        let limits = Limits {
            interpreter_stack_bytes,
            ..Limits::default()
        };
        Store::interpreted(Arc::new(StackMapRegistry::new()), limits).ok()
    }

    #[test]
    fn bytecode_stays_where_it_is() {
        let mut module = CompiledModule::new(Target::BYTECODE, false);
        module.text = vec![7; 16];
        let text = module.text.as_ptr();
        let placed = place(&mut module).unwrap();
        assert_eq!(placed.base(), text);
        assert!(module.text.is_empty());
    }

    #[test]
    fn only_bytecode_is_loaded() {
        let store = store(1 << 10).unwrap();
        let load = |target| Module::load(&store, CompiledModule::new(target, false));
        let has_bytecode = cfg!(target_endian = "little");
        assert_eq!(load(store.target()).is_ok(), has_bytecode);
        let refused = load(Target::HOST).err();
        let (found, expected) = (Target::HOST, Target::BYTECODE);
        assert_eq!(refused, Some(LoadError::WrongTarget { found, expected }));
    }

    #[test]
    fn a_stack_that_memory_does_not_hold_is_an_error() {
        for bytes in [usize::MAX, isize::MAX.unsigned_abs() - 15] {
            assert!(store(bytes).is_none(), "{bytes}");
        }
        let none = store(0).unwrap();
        assert_eq!(none.gc().walk_end, Some(WalkEnd::Complete));
    }

    #[test]
    fn each_interpreter_has_a_stack_of_its_own() {
        let [a, b] = [(), ()].map(|()| Interpreter::new(256).unwrap());
        assert_eq!((a.stack.len(), b.stack.len()), (256, 256));
        assert!(a.stack.end <= b.stack.start || b.stack.end <= a.stack.start);
        let record = ActivationRecord::new();
        assert!(a.walker(&record).proves_end());
    }
}
