//! Where an interpreter's stack lies.

use core::ops::Range;
use pulley_interpreter::XReg;
use pulley_interpreter::interp::Vm;

/// The addresses of the stack of a `Vm` that runs nothing.
///
/// `stack_bytes` is the size that it was made with ([`Vm::with_stack`]). Meanwhile, its stack
/// pointer is the address behind its stack.
///
/// ```
/// use pulley_interpreter::interp::Vm;
/// use vmexternref_pulley::stack_bounds;
///
/// let vm = Vm::with_stack(4096).expect("memory");
/// assert_eq!(stack_bounds(&vm, 4096).len(), 4096);
/// ```
#[must_use]
pub fn stack_bounds(vm: &Vm, stack_bytes: usize) -> Range<usize> {
    let end = vm[XReg::sp].get_ptr::<u8>().addr();
    end.saturating_sub(stack_bytes)..end
}
