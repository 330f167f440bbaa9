//! A machine that no module can be loaded on.

/// Cannot be reached: [`Module::load`](crate::Module::load) refuses all code on this machine.
///
/// # Safety
///
/// None.
pub(crate) unsafe fn resume(_pc: usize, _sp: usize, _fp: usize) -> ! {
    unreachable!("no compiled code runs on this machine")
}
