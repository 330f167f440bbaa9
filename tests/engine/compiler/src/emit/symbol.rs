//! Names of the pieces of code in a module's text.

use cranelift_codegen::ir::UserExternalName;
use vmexternref_engine_abi::{Builtin, HostCall};

/// The name of a piece of code in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Symbol {
    /// A function of the module, by its index among the defined ones.
    Function(u32),
    /// The entry trampoline of that type.
    Entry(u32),
    /// The exit trampoline of that type.
    Exit(u32),
    /// The trampoline of a builtin.
    Builtin(Builtin),
    /// A function with a guard; the guard is `Function`.
    GuardedFunction(u32),
    /// An exit trampoline with a guard; the guard is `Exit`.
    GuardedExit(u32),
    /// What bytecode calls the host for. It is no piece of code.
    HostCall(HostCall),
}

const FUNCTION: u32 = 0;
const ENTRY: u32 = 1;
const EXIT: u32 = 2;
const BUILTIN: u32 = 3;
const GUARDED_FUNCTION: u32 = 4;
const GUARDED_EXIT: u32 = 5;
const HOST_CALL: u32 = 6;

impl Symbol {
    /// The code generator's name for it.
    pub(crate) fn external_name(self) -> UserExternalName {
        let (namespace, index) = match self {
            Self::Function(index) => (FUNCTION, index),
            Self::Entry(index) => (ENTRY, index),
            Self::Exit(index) => (EXIT, index),
            Self::Builtin(builtin) => (BUILTIN, builtin.number()),
            Self::GuardedFunction(index) => (GUARDED_FUNCTION, index),
            Self::GuardedExit(index) => (GUARDED_EXIT, index),
            Self::HostCall(call) => (HOST_CALL, call.number().into()),
        };
        UserExternalName { namespace, index }
    }

    /// The symbol of the code generator's name.
    pub(crate) fn from_external_name(name: &UserExternalName) -> Option<Self> {
        match name.namespace {
            FUNCTION => Some(Self::Function(name.index)),
            ENTRY => Some(Self::Entry(name.index)),
            EXIT => Some(Self::Exit(name.index)),
            BUILTIN => {
                let index = usize::try_from(name.index).ok()?;
                Builtin::ALL.get(index).copied().map(Self::Builtin)
            }
            GUARDED_FUNCTION => Some(Self::GuardedFunction(name.index)),
            GUARDED_EXIT => Some(Self::GuardedExit(name.index)),
            HOST_CALL => {
                let number = u8::try_from(name.index).ok()?;
                HostCall::from_number(number).map(Self::HostCall)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Symbol;
    use vmexternref_engine_abi::{Builtin, HostCall};

    #[test]
    fn names_lead_back_to_their_symbols() {
        let builtins = Builtin::ALL.into_iter().map(Symbol::Builtin);
        let others = [
            Symbol::Function(7),
            Symbol::Entry(1),
            Symbol::Exit(0),
            Symbol::GuardedFunction(7),
            Symbol::GuardedExit(2),
            Symbol::HostCall(HostCall::Function),
            Symbol::HostCall(HostCall::Builtin(Builtin::Zeal)),
        ];
        for symbol in builtins.chain(others) {
            let name = symbol.external_name();
            assert_eq!(Symbol::from_external_name(&name), Some(symbol));
        }
    }
}
