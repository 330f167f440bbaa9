//! Why a table of unwind entries is refused.

use core::fmt;

/// Why a table of unwind entries was not registered.
///
/// A number is the offset of the refused entry from the start of the table, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnwindTablesError {
    /// This platform's unwinder does not take tables in this format.
    Unsupported,
    /// The address of a table registered in place is not a multiple of four.
    Misaligned,
    /// The table does not end with a terminator.
    Unterminated,
    /// The table continues behind its terminator, where no unwinder reads.
    Trailing(usize),
    /// An entry, or something in it, is longer than what holds it.
    Truncated(usize),
    /// An entry has a 64-bit length, which GCC's unwinder does not read.
    ExtendedLength(usize),
    /// A function's entry does not lead back to an entry with common information.
    CiePointer(usize),
    /// An entry has a version other than 1 and 3.
    Version(usize),
    /// An entry has an augmentation that an unwinder does not know or misreads.
    Augmentation(usize),
    /// An entry has addresses in an encoding that an unwinder does not read.
    Encoding(usize),
    /// An owned table has relative addresses, which are wrong in a copy.
    Relative(usize),
    /// An entry keeps the return address in a register that an unwinder does not know.
    ReturnAddress(usize),
    /// A function's entry covers no code, or code past the end of memory.
    NoCode(usize),
    /// An unwinder does not know, misreads or aborts at the instructions of an entry.
    Instructions(usize),
    /// There is no memory to check or register the table.
    OutOfMemory,
}

impl fmt::Display for UnwindTablesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, offset) = match *self {
            Self::Unsupported => return f.write_str("the platform takes no such unwind tables"),
            Self::Misaligned => return f.write_str("the unwind table is misaligned"),
            Self::Unterminated => return f.write_str("the unwind table has no terminator"),
            Self::OutOfMemory => return f.write_str("out of memory"),
            Self::Trailing(offset) => ("something follows its terminator", offset),
            Self::Truncated(offset) => ("an entry is truncated", offset),
            Self::ExtendedLength(offset) => ("an entry has a 64-bit length", offset),
            Self::CiePointer(offset) => ("an entry's CIE pointer leads to no CIE", offset),
            Self::Version(offset) => ("a CIE has an unknown version", offset),
            Self::Augmentation(offset) => ("a CIE has an unknown augmentation", offset),
            Self::Encoding(offset) => ("a CIE has an unknown pointer encoding", offset),
            Self::Relative(offset) => ("a CIE of an owned table has relative addresses", offset),
            Self::ReturnAddress(offset) => ("a CIE has an unknown return address register", offset),
            Self::NoCode(offset) => ("an entry covers no code", offset),
            Self::Instructions(offset) => ("an entry has bad instructions", offset),
        };
        write!(f, "malformed unwind table: {what}, at offset {offset:#x}")
    }
}

impl core::error::Error for UnwindTablesError {}
