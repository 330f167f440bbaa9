//! The name of a function.

use crate::value::handle::Handle;
use core::fmt;
use vmexternref_engine_abi::VMFuncRef;

/// A function of a store.
///
/// It names the function, and is valid only together with the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Func(pub(crate) Handle<VMFuncRef>);

impl Func {
    /// The word of a reference to the function.
    pub(crate) fn to_word(self) -> usize {
        self.0.as_ptr().as_ptr().expose_provenance()
    }
}

impl fmt::Debug for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Func({:?})", self.0)
    }
}
