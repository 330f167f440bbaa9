//! The registers that GCC's and LLVM's unwinders know, by DWARF number.
//!
//! Both compute addresses from general registers only. From another register, LLVM's unwinder
//! aborts, and so does GCC's if the register is beyond its table. At a rule for a register beyond
//! its table, GCC's unwinder does nothing. At a rule for a register that it cannot restore, LLVM's
//! ends the walk.

use core::ops::RangeInclusive;
use gimli::Register;

/// Whether both unwinders compute addresses from this register.
pub(crate) fn is_general(register: Register) -> bool {
    GENERAL.is_none_or(|last| register.0 <= last)
}

/// Whether a table may have a rule for this register.
pub(crate) fn is_restorable(register: Register) -> bool {
    is_general(register) || OTHERS.iter().any(|others| others.contains(&register.0))
}

/// The last general register. `None` allows every register, on other architectures.
const GENERAL: Option<u16> = if cfg!(target_arch = "x86_64") {
    // The return address.
    Some(16)
} else if cfg!(any(target_arch = "aarch64", target_arch = "riscv64")) {
    Some(31)
} else if cfg!(target_arch = "s390x") {
    Some(15)
} else if cfg!(target_arch = "x86") {
    // The return address.
    Some(8)
} else {
    None
};

/// Further registers that a function may have to restore.
const OTHERS: &[RangeInclusive<u16>] = if cfg!(target_arch = "aarch64") {
    // The state of the return address's signature, and the vector registers.
    &[34..=34, 64..=95]
} else if cfg!(target_arch = "x86_64") {
    // The vector registers, some of which Windows' calling convention saves.
    &[17..=32]
} else if cfg!(target_arch = "riscv64") {
    // The floating-point registers.
    &[32..=63]
} else if cfg!(target_arch = "s390x") {
    // The floating-point registers.
    &[16..=31]
} else {
    // A function on x86 restores none.
    &[]
};

#[cfg(test)]
mod tests {
    use super::{is_general, is_restorable};
    use gimli::{AArch64, Register, RiscV, X86, X86_64};

    #[test]
    fn callee_saved_registers_can_be_restored_and_others_cannot() {
        let (general, others, unknown) = if cfg!(target_arch = "x86_64") {
            let general = [
                X86_64::RBX,
                X86_64::RBP,
                X86_64::RSP,
                X86_64::R15,
                X86_64::RA,
            ];
            (general, vec![X86_64::XMM6, X86_64::XMM15], Register(33))
        } else if cfg!(target_arch = "aarch64") {
            let general = [
                AArch64::X0,
                AArch64::X19,
                AArch64::X29,
                AArch64::X30,
                AArch64::SP,
            ];
            let others = vec![AArch64::RA_SIGN_STATE, AArch64::V8, AArch64::V15];
            (general, others, Register(96))
        } else if cfg!(target_arch = "riscv64") {
            let general = [RiscV::RA, RiscV::SP, RiscV::S0, RiscV::S1, RiscV::S11];
            (general, vec![RiscV::FS0, RiscV::FS11], Register(64))
        } else if cfg!(target_arch = "s390x") {
            let general = [6, 11, 13, 14, 15].map(Register);
            (general, vec![Register(24), Register(31)], Register(32))
        } else if cfg!(target_arch = "x86") {
            let general = [X86::EBX, X86::EBP, X86::ESP, X86::EDI, X86::RA];
            (general, Vec::new(), Register(9))
        } else {
            return;
        };
        for register in general {
            assert!(
                is_general(register) && is_restorable(register),
                "{register:?}"
            );
        }
        for register in others {
            assert!(
                !is_general(register) && is_restorable(register),
                "{register:?}"
            );
        }
        assert!(
            !is_general(unknown) && !is_restorable(unknown),
            "{unknown:?}"
        );
    }
}
