//! What bytecode calls the host for.

use crate::builtin::Builtin;

/// What bytecode calls the host for, as the number in its `call_indirect_host` instruction.
///
/// The arguments are in the registers `x0`, `x1` and on, each in one, and the result is in `x0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostCall {
    /// A function of the runtime: `(vmctx, parameters…) -> result`.
    Builtin(Builtin),
    /// A host function: `(host, caller, values)`, as [`RawHostFn`](crate::RawHostFn).
    ///
    /// It returns to bytecode only if it did not trap, and then without a status.
    Function,
}

impl HostCall {
    /// The number in the instruction.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Builtin(builtin) => builtin as u8,
            Self::Function => FUNCTION,
        }
    }

    /// The call with that number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        if number == FUNCTION {
            return Some(Self::Function);
        }
        let builtin = Builtin::ALL.get(usize::from(number)).copied();
        builtin.map(Self::Builtin)
    }
}

/// The number of [`HostCall::Function`].
const FUNCTION: u8 = u8::MAX;

const _: () = assert!(Builtin::ALL.len() <= FUNCTION as usize);

#[cfg(test)]
mod tests {
    use super::HostCall;
    use crate::builtin::Builtin;

    #[test]
    fn numbers_lead_back_to_their_calls() {
        let builtins = Builtin::ALL.into_iter().map(HostCall::Builtin);
        for call in builtins.chain([HostCall::Function]) {
            assert_eq!(HostCall::from_number(call.number()), Some(call));
        }
        assert_eq!(HostCall::from_number(200), None);
    }
}
