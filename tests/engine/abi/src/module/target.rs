//! Machines that code is compiled for.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The instruction set.
    pub architecture: Architecture,
    /// Bytes in a pointer.
    pub pointer_bytes: u8,
}

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Architecture {
    /// AMD64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
    /// Bytecode of the Pulley interpreter, little-endian, for 32-bit or 64-bit pointers.
    Pulley,
    /// 64-bit z/Architecture, which is big-endian.
    S390x,
    /// An instruction set that compiler and runtime do not support.
    Other,
}

impl Target {
    /// The machine that this code runs on.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a pointer has at most eight bytes"
    )]
    pub const HOST: Self = Self {
        architecture: cfg_select! {
            target_arch = "x86_64" => Architecture::X86_64,
            target_arch = "aarch64" => Architecture::Aarch64,
            target_arch = "riscv64" => Architecture::Riscv64,
            target_arch = "s390x" => Architecture::S390x,
            _ => Architecture::Other,
        },
        pointer_bytes: size_of::<usize>() as u8,
    };

    /// The bytecode that an interpreter on this machine runs.
    pub const BYTECODE: Self = Self {
        architecture: if cfg!(target_endian = "little") {
            Architecture::Pulley
        } else {
            Architecture::Other
        },
        pointer_bytes: Self::HOST.pointer_bytes,
    };
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.architecture {
            Architecture::X86_64 => "x86_64",
            Architecture::Aarch64 => "aarch64",
            Architecture::Riscv64 => "riscv64",
            Architecture::Pulley => "pulley",
            Architecture::S390x => "s390x",
            Architecture::Other => "another machine",
        };
        write!(f, "{name} ({}-bit)", u32::from(self.pointer_bytes) * 8)
    }
}
