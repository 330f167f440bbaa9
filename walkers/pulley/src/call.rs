//! Running bytecode as an activation that can be walked.

use core::fmt;
use core::mem;
use core::ops::ControlFlow;
use core::ptr::NonNull;
use pulley_interpreter::interp::{DoneReason, TrapKind, Val, Vm, XRegVal};
use pulley_interpreter::{Reg, XReg};
use vmexternref_frame_pointer::{Activation, ActivationRecord};

/// Why a call of bytecode did not return.
pub enum CallEnd<B> {
    /// An instruction trapped.
    Trap {
        /// The address of the instruction.
        pc: NonNull<u8>,
        /// What kind of trap it is, if the interpreter knows.
        kind: Option<TrapKind>,
    },
    /// The host ended the call.
    Host(B),
}

impl<B> CallEnd<B> {
    /// Whether the interpreter's stack was exhausted.
    #[must_use]
    pub const fn is_stack_overflow(&self) -> bool {
        let Self::Trap { kind, .. } = self else {
            return false;
        };
        matches!(kind, Some(TrapKind::StackOverflow))
    }
}

impl<B: fmt::Debug> fmt::Debug for CallEnd<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap { pc, .. } => f
                .debug_struct("Trap")
                .field("pc", pc)
                .field("stack_overflow", &self.is_stack_overflow())
                .finish_non_exhaustive(),
            Self::Host(host) => f.debug_tuple("Host").field(host).finish(),
        }
    }
}

/// Calls a function of bytecode, as an activation of its own.
///
/// `host` gets the number of each host call. It finds the arguments in the registers of `vm`, and
/// leaves the result there. It may call bytecode again, on this `vm` with this record. If it
/// breaks, the call ends. However the call ends, also by a panic of `host`, the registers that
/// outer frames of bytecode rely on are those from before.
///
/// Results of the function are in the registers `x0`, `f0` and on.
///
/// # Errors
///
/// When bytecode traps, or `host` breaks.
///
/// # Safety
///
/// - `vm` and the bytecode that it comes to stay alive for the call, and nobody else uses `vm`
///   meanwhile but `host`.
/// - `function` is a function of valid bytecode that keeps frame records, and takes `args`, each of
///   them in a register.
/// - `record` is that of the bytecode that runs on `vm`, and of no other. Nothing else writes to
///   it.
/// - `host` keeps the registers of `vm`, except those in which Pulley's convention has arguments
///   and results, and keeps what the convention asks for of its callees. It does not walk after an
///   inner call has ended and before it runs bytecode again, unless through this function.
pub unsafe fn call<B>(
    vm: NonNull<Vm>,
    record: &ActivationRecord,
    function: NonNull<u8>,
    args: &[Val],
    host: impl FnMut(u8) -> ControlFlow<B>,
) -> Result<(), CallEnd<B>> {
    // SAFETY: `run` writes where bytecode is entered and left before each host call, and walks
    // nothing itself.
    unsafe { record.enter(|| run(vm, record, function, args, host)) }
}

/// Runs the function in an activation of its own.
///
/// # Safety
///
/// As for [`call`], in an [`enter`](ActivationRecord::enter) of the record.
unsafe fn run<B>(
    vm: NonNull<Vm>,
    record: &ActivationRecord,
    function: NonNull<u8>,
    args: &[Val],
    mut host: impl FnMut(u8) -> ControlFlow<B>,
) -> Result<(), CallEnd<B>> {
    // SAFETY: the caller lends the interpreter, and `host` does not run while this reference lives.
    let of_caller = Registers::of(unsafe { vm.as_ref() });
    let entered = Activation {
        entry_fp: of_caller.fp.addr(),
        ..Activation::default()
    };
    let caller = Caller { vm, of_caller };
    // SAFETY: nothing has left bytecode yet, and a walk says so.
    unsafe { record.write(entered) };
    // SAFETY: the caller passes arguments for registers.
    unsafe { (*vm.as_ptr()).call_start(args) };
    let mut pc = function;
    loop {
        // SAFETY: `pc` is the function, or where it goes on after a host call.
        match unsafe { (*vm.as_ptr()).call_run(pc) } {
            DoneReason::ReturnToHost(()) => {
                caller.returned();
                return Ok(());
            }
            DoneReason::Trap { pc, kind } => return Err(CallEnd::Trap { pc, kind }),
            DoneReason::CallIndirectHost { id, resume } => {
                let left = Activation {
                    exit_pc: resume.as_ptr().expose_provenance(),
                    // SAFETY: the caller lends the interpreter, which has stopped.
                    exit_fp: unsafe { (*vm.as_ptr()).fp() }.expose_provenance(),
                    ..entered
                };
                // SAFETY: the interpreter has stopped at a host call of the frame at `fp`.
                unsafe { record.write(left) };
                if let ControlFlow::Break(end) = host(id) {
                    return Err(CallEnd::Host(end));
                }
                pc = resume;
            }
        }
    }
}

/// The registers that a call preserves for its caller.
struct Registers {
    fp: *mut u8,
    lr: *mut u8,
    sp: XRegVal,
    /// `x16` to `x29`.
    saved: [XRegVal; Self::SAVED],
}

impl Registers {
    const FIRST: u8 = 16;
    const SAVED: usize = (XReg::SPECIAL_START - Self::FIRST) as usize;

    fn of(vm: &Vm) -> Self {
        let mut saved = [XRegVal::default(); Self::SAVED];
        for (value, register) in saved.iter_mut().zip(Self::names()) {
            *value = vm[register];
        }
        Self {
            fp: vm.fp(),
            lr: vm.lr(),
            sp: vm[XReg::sp],
            saved,
        }
    }

    fn names() -> impl Iterator<Item = XReg> {
        (Self::FIRST..XReg::SPECIAL_START).filter_map(XReg::new)
    }

    fn restore(&self, vm: &mut Vm) {
        // SAFETY: the registers are those of the frame that goes on.
        unsafe { vm.set_fp(self.fp) };
        // SAFETY: as above.
        unsafe { vm.set_lr(self.lr) };
        vm[XReg::sp] = self.sp;
        for (value, register) in self.saved.iter().zip(Self::names()) {
            vm[register] = *value;
        }
    }
}

/// Whoever called bytecode. Dropping it abandons the frames of the call.
struct Caller {
    vm: NonNull<Vm>,
    of_caller: Registers,
}

impl Caller {
    /// Bytecode has returned, and with that restored all registers but the link register.
    fn returned(self) {
        // SAFETY: the interpreter outlives the call, and has stopped.
        unsafe { (*self.vm.as_ptr()).set_lr(self.of_caller.lr) };
        mem::forget(self);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // SAFETY: the interpreter outlives the call, and has stopped.
        self.of_caller.restore(unsafe { &mut *self.vm.as_ptr() });
    }
}

#[cfg(test)]
mod tests {
    use super::{CallEnd, call};
    use crate::bounds::stack_bounds;
    use crate::walker::PulleyWalker;
    use core::cell::Cell;
    use core::ops::ControlFlow;
    use core::ptr::NonNull;
    use pulley_interpreter::XReg;
    use pulley_interpreter::encode;
    use pulley_interpreter::interp::{Val, Vm};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::vec::Vec;
    use vmexternref_core::{StackWalker, WalkEnd};
    use vmexternref_frame_pointer::ActivationRecord;

    const STACK_BYTES: usize = 4096;

    /// An interpreter, its record, and functions that call each other and the host.
    struct Machine {
        vm: NonNull<Vm>,
        record: ActivationRecord,
        code: Vec<u8>,
        /// Offsets: a function that calls the host, the place where it goes on, a function that
        /// calls the first one, and the place where that goes on.
        leaf: usize,
        leaf_pc: usize,
        outer: usize,
        outer_pc: usize,
    }

    impl Machine {
        fn new() -> Self {
            let vm = Vm::with_stack(STACK_BYTES).unwrap();
            let mut code = Vec::new();
            let leaf = code.len();
            encode::push_frame(&mut code);
            encode::call_indirect_host(&mut code, 1_u8);
            let leaf_pc = code.len();
            encode::pop_frame(&mut code);
            encode::ret(&mut code);
            let outer = code.len();
            encode::push_frame(&mut code);
            // It changes a register that its caller relies on.
            encode::xconst8(&mut code, XReg::x16, 7_i8);
            let place = i32::try_from(code.len()).unwrap();
            encode::call(&mut code, i32::try_from(leaf).unwrap() - place);
            let outer_pc = code.len();
            encode::pop_frame(&mut code);
            encode::ret(&mut code);
            Self {
                vm: NonNull::from(std::boxed::Box::leak(std::boxed::Box::new(vm))),
                record: ActivationRecord::new(),
                code,
                leaf,
                leaf_pc,
                outer,
                outer_pc,
            }
        }

        fn vm(&self) -> &Vm {
            // SAFETY: the tests look at the interpreter only while it has stopped.
            unsafe { self.vm.as_ref() }
        }

        fn at(&self, offset: usize) -> usize {
            self.code.as_ptr().addr() + offset
        }

        fn call<B>(
            &self,
            offset: usize,
            host: impl FnMut(u8) -> ControlFlow<B>,
        ) -> Result<(), CallEnd<B>> {
            // To all of the code: functions call each other.
            let code: NonNull<u8> = NonNull::from(&self.code[..]).cast();
            // SAFETY: the offset is that of a function in the code.
            let function = unsafe { code.add(offset) };
            // SAFETY: the bytecode is whole, and the tests only use the interpreter in `host`.
            unsafe { call(self.vm, &self.record, function, &[], host) }
        }

        /// The offsets of the return addresses of the frames.
        fn walk(&self) -> (Vec<usize>, WalkEnd) {
            let end = self.vm()[XReg::sp].get_ptr::<u8>().addr();
            let stack = end - STACK_BYTES..end + STACK_BYTES;
            let mut pcs = Vec::new();
            let end = PulleyWalker::new(&self.record, stack).walk(&mut |frame| {
                pcs.push(frame.pc - self.at(0));
                ControlFlow::Continue(())
            });
            (pcs, end)
        }

        fn registers(&self) -> [usize; 4] {
            let vm = self.vm();
            let register = |name: XReg| vm[name].get_ptr::<u8>().addr();
            let (fp, lr) = (vm.fp().addr(), vm.lr().addr());
            [fp, lr, register(XReg::sp), register(XReg::x16)]
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            // SAFETY: the interpreter comes from a box, and nothing runs on it.
            drop(unsafe { std::boxed::Box::from_raw(self.vm.as_ptr()) });
        }
    }

    const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

    #[test]
    fn the_interpreter_s_stack_lies_where_its_bounds_say() {
        let vm = Vm::with_stack(STACK_BYTES).unwrap();
        let bounds = stack_bounds(&vm, STACK_BYTES);
        assert_eq!(bounds.len(), STACK_BYTES);
        assert_eq!(bounds.end, vm[XReg::sp].get_ptr::<u8>().addr());
    }

    #[test]
    fn frames_of_nested_calls_are_walked_youngest_first() {
        let machine = Machine::new();
        let depth = Cell::new(0);
        let seen = Cell::new(None);
        fn host(machine: &Machine, depth: &Cell<i32>, seen: &Cell<Option<(Vec<usize>, WalkEnd)>>) {
            depth.set(depth.get() + 1);
            match depth.get() {
                1 => machine.call(machine.leaf, |_| {
                    host(machine, depth, seen);
                    GO_ON
                }),
                2 => machine.call(machine.outer, |_| {
                    host(machine, depth, seen);
                    GO_ON
                }),
                _ => {
                    seen.set(Some(machine.walk()));
                    Ok(())
                }
            }
            .unwrap();
        }
        let before = machine.registers();
        machine
            .call(machine.outer, |_| {
                host(&machine, &depth, &seen);
                GO_ON
            })
            .unwrap();
        let (leaf, outer) = (machine.leaf_pc, machine.outer_pc);
        let expected = std::vec![leaf, outer, leaf, leaf, outer];
        assert_eq!(seen.take(), Some((expected, WalkEnd::Complete)));
        assert_eq!(machine.registers()[..3], before[..3]);
        assert!(machine.record.is_idle());
    }

    #[test]
    fn a_call_that_the_host_ends_leaves_the_registers_of_its_caller() {
        let machine = Machine::new();
        let before = machine.registers();
        let ended = machine.call(machine.outer, ControlFlow::Break);
        assert!(matches!(ended, Err(CallEnd::Host(1))), "{ended:?}");
        assert_eq!(machine.registers(), before);
        assert!(machine.record.is_idle());
        // Inside another call, whose frames go on.
        let frames = std::vec![machine.leaf_pc, machine.outer_pc];
        let inside = |_| {
            let before = machine.registers();
            machine.call(machine.leaf, |_| GO_ON).unwrap();
            assert_eq!(machine.registers(), before, "a call that returned");
            assert!(machine.call(machine.outer, ControlFlow::Break).is_err());
            assert_eq!(machine.registers(), before, "a call that was ended");
            assert_eq!(machine.walk(), (frames.clone(), WalkEnd::Complete));
            GO_ON
        };
        machine.call(machine.outer, inside).unwrap();
        assert_eq!(machine.registers()[..3], before[..3]);
    }

    #[test]
    fn a_panic_of_the_host_does_so_too() {
        let machine = Machine::new();
        let before = machine.registers();
        let call = AssertUnwindSafe(|| {
            machine.call(machine.outer, |_| -> ControlFlow<()> {
                panic!("a host function panics")
            })
        });
        assert!(catch_unwind(call).is_err());
        assert_eq!(machine.registers(), before);
        assert!(machine.record.is_idle());
        machine.call(machine.outer, |_| GO_ON).unwrap();
    }

    #[test]
    fn an_exhausted_stack_is_told_from_other_traps() {
        let mut machine = Machine::new();
        let trap = machine.code.len();
        encode::trap(&mut machine.code);
        let endless = machine.code.len();
        encode::push_frame(&mut machine.code);
        let back = i32::try_from(endless).unwrap() - i32::try_from(machine.code.len()).unwrap();
        encode::call(&mut machine.code, back);
        let before = machine.registers();
        for (function, overflow) in [(endless, true), (trap, false)] {
            let ended = machine.call(function, |_| GO_ON).unwrap_err();
            assert_eq!(ended.is_stack_overflow(), overflow, "{ended:?}");
            assert_eq!(machine.registers(), before);
        }
    }

    #[test]
    fn arguments_and_results_are_in_registers() {
        let mut machine = Machine::new();
        let add = machine.code.len();
        let operands = pulley_interpreter::BinaryOperands::new(XReg::x0, XReg::x0, XReg::x1);
        encode::xadd64(&mut machine.code, operands);
        encode::ret(&mut machine.code);
        let function = NonNull::from(&machine.code[add..]).cast();
        let args = [Val::from(40_u64), Val::from(2_u64)];
        let host = |_| GO_ON;
        // SAFETY: the bytecode is whole, takes two arguments, and calls no host.
        unsafe { call(machine.vm, &machine.record, function, &args, host) }.unwrap();
        assert_eq!(machine.vm()[XReg::x0].get_u64(), 42);
    }
}
