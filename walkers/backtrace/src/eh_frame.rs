//! Checking a table of unwind entries before an unwinder gets it.
//!
//! ```text
//!  +--------+---+-----------------------------+
//!  | length | 0 | version, augmentation, ...  |   CIE: what many functions share
//!  +--------+---+-----------------------------+ <-------.
//!  | length | o | start, size, instructions   |   FDE: one function; o = bytes back to its CIE
//!  +--------+---+-----------------------------+
//!  | ...                                      |
//!  +--------+---------------------------------+
//!  | 0      |                                     the terminator: 4 zero bytes
//!  +--------+
//! ```
//!
//! The format is that of the Linux Standard Base, section 10.6, as GCC's and LLVM's unwinders read
//! it. What they would not understand, or abort at, is refused here.

use crate::bytes::Bytes;
use crate::instructions;
use core::fmt;

/// Why a table of unwind entries was not registered.
///
/// A number is the offset of the entry in question from the start of the table, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnwindTablesError {
    /// This platform's unwinder does not take tables in this format.
    Unsupported,
    /// The address of a table registered in place is not a multiple of four.
    Misaligned,
    /// The table does not end with a terminator.
    Unterminated,
    /// Something follows the terminator, which no unwinder would see.
    Trailing(usize),
    /// An entry, or something in it, is longer than what holds it.
    Truncated(usize),
    /// An entry has a 64-bit length, which not every unwinder reads.
    ExtendedLength(usize),
    /// An entry for a function does not lead back to an entry with common information.
    CiePointer(usize),
    /// An entry is of a version other than 1 and 3.
    Version(usize),
    /// An entry has an unknown kind of augmentation.
    Augmentation(usize),
    /// An entry has addresses in an encoding that is unknown, or relative to an unknown base.
    Encoding(usize),
    /// An entry for a function covers no code.
    NoCode(usize),
    /// An entry has an unknown instruction, or an instruction without all of its operands.
    Instructions(usize),
}

impl fmt::Display for UnwindTablesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, offset) = match *self {
            Self::Unsupported => return f.write_str("the platform takes no such unwind tables"),
            Self::Misaligned => return f.write_str("the unwind table is misaligned"),
            Self::Unterminated => return f.write_str("the unwind table has no terminator"),
            Self::Trailing(offset) => ("something follows its terminator", offset),
            Self::Truncated(offset) => ("an entry is truncated", offset),
            Self::ExtendedLength(offset) => ("an entry has a 64-bit length", offset),
            Self::CiePointer(offset) => ("an entry's CIE pointer leads to no CIE", offset),
            Self::Version(offset) => ("a CIE is of an unknown version", offset),
            Self::Augmentation(offset) => ("a CIE has an unknown augmentation", offset),
            Self::Encoding(offset) => ("a CIE has an unknown pointer encoding", offset),
            Self::NoCode(offset) => ("an entry covers no code", offset),
            Self::Instructions(offset) => ("an entry has a bad instruction", offset),
        };
        write!(f, "malformed unwind table: {what}, at offset {offset:#x}")
    }
}

impl core::error::Error for UnwindTablesError {}

use UnwindTablesError as Error;

/// Checks a whole table, and returns the offsets of its entries for functions.
pub(crate) fn check(table: &[u8]) -> Result<Vec<usize>, Error> {
    let mut rest = Bytes(table);
    let mut commons: Vec<Common> = Vec::new();
    let mut functions = Vec::new();
    loop {
        let offset = table.len() - rest.0.len();
        if rest.is_empty() {
            return Err(Error::Unterminated);
        }
        let length = match rest.u32().ok_or(Error::Truncated(offset))? {
            0 if rest.0.iter().all(|&byte| byte == 0) => return Ok(functions),
            0 => return Err(Error::Trailing(offset + 4)),
            u32::MAX => return Err(Error::ExtendedLength(offset)),
            length => usize::try_from(length).map_err(|_| Error::Truncated(offset))?,
        };
        let mut entry = rest.take(length).ok_or(Error::Truncated(offset))?;
        match entry.u32().ok_or(Error::Truncated(offset))? {
            0 => commons.push(Common::read(entry, offset)?),
            back => {
                let common = common_at(&commons, offset, back).ok_or(Error::CiePointer(offset))?;
                common.check_function(entry, offset)?;
                functions.push(offset);
            }
        }
    }
}

/// The entry that lies `back` bytes before the pointer field of the entry at `offset`.
fn common_at(commons: &[Common], offset: usize, back: u32) -> Option<&Common> {
    let target = (offset + 4).checked_sub(usize::try_from(back).ok()?)?;
    let index = commons
        .binary_search_by_key(&target, |common| common.offset)
        .ok()?;
    Some(&commons[index])
}

/// What the entries for functions need to know of a CIE.
struct Common {
    offset: usize,
    /// Bytes in an encoded address.
    address_bytes: usize,
    /// Whether its functions' entries have augmentation data.
    augmented: bool,
}

impl Common {
    /// Reads a CIE from behind its identifier.
    fn read(mut entry: Bytes<'_>, offset: usize) -> Result<Self, Error> {
        let truncated = Error::Truncated(offset);
        let version = entry.u8().ok_or(truncated)?;
        if version != 1 && version != 3 {
            return Err(Error::Version(offset));
        }
        let augmentation = entry.string().ok_or(truncated)?;
        // The alignment factors of code and of data, and the return address's register.
        entry.uleb128().ok_or(truncated)?;
        entry.skip_sleb128().ok_or(truncated)?;
        if version == 1 {
            entry.u8().ok_or(truncated)?;
        } else {
            entry.uleb128().ok_or(truncated)?;
        }
        let mut common = Self {
            offset,
            address_bytes: size_of::<usize>(),
            augmented: false,
        };
        if let Some((first, kinds)) = augmentation.split_first() {
            if *first != b'z' {
                return Err(Error::Augmentation(offset));
            }
            common.augmented = true;
            let data = entry.block().ok_or(truncated)?;
            common.read_augmentation(kinds, data)?;
        }
        instructions::check(entry, common.address_bytes).ok_or(Error::Instructions(offset))?;
        Ok(common)
    }

    /// Reads a CIE's augmentation data, one `kinds` letter at a time.
    fn read_augmentation(&mut self, kinds: &[u8], mut data: Bytes<'_>) -> Result<(), Error> {
        let truncated = Error::Truncated(self.offset);
        for kind in kinds {
            match kind {
                b'R' => {
                    let encoding = data.u8().ok_or(truncated)?;
                    self.address_bytes =
                        direct_bytes(encoding).ok_or(Error::Encoding(self.offset))?;
                }
                b'P' => {
                    let encoding = data.u8().ok_or(truncated)?;
                    let bytes =
                        direct_bytes(encoding & !INDIRECT).ok_or(Error::Encoding(self.offset))?;
                    data.take(bytes).ok_or(truncated)?;
                }
                b'L' => {
                    data.u8().ok_or(truncated)?;
                }
                // A signal frame; return addresses signed with the B key.
                b'S' | b'B' => {}
                _ => return Err(Error::Augmentation(self.offset)),
            }
        }
        Ok(())
    }

    /// Checks the entry of one function from behind its pointer to this CIE.
    fn check_function(&self, mut entry: Bytes<'_>, offset: usize) -> Result<(), Error> {
        let truncated = Error::Truncated(offset);
        for _start_and_size in 0..2 {
            let number = entry.take(self.address_bytes).ok_or(truncated)?;
            if number.0.iter().all(|&byte| byte == 0) {
                return Err(Error::NoCode(offset));
            }
        }
        if self.augmented {
            entry.block().ok_or(truncated)?;
        }
        instructions::check(entry, self.address_bytes).ok_or(Error::Instructions(offset))
    }
}

/// The bit of an encoding that says: the address of the address.
const INDIRECT: u8 = 0x80;

/// The bytes of an address in an encoding that is absolute or relative to itself.
fn direct_bytes(encoding: u8) -> Option<usize> {
    const RELATIVE_TO_ITSELF: u8 = 0x10;
    match encoding & !RELATIVE_TO_ITSELF {
        0x00 => Some(size_of::<usize>()),
        // Two, four and eight bytes, unsigned and signed.
        0x02 | 0x0a => Some(2),
        0x03 | 0x0b => Some(4),
        0x04 | 0x0c => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, check};

    /// An entry with `body` behind its length and its identifier or CIE pointer.
    fn entry(id: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(4 + body.len()).expect("short");
        [&length.to_ne_bytes(), &id.to_ne_bytes(), body].concat()
    }

    const TERMINATOR: [u8; 4] = [0; 4];
    /// Version 1, "zR", factors 1 and -8, register 16, addresses of four bytes, `def_cfa`, nops.
    const CIE: &[u8] = b"\x01zR\0\x01\x78\x10\x01\x1b\x0c\x07\x08\0\0\0\0";
    /// Start, size, no augmentation data, `advance_loc`, `def_cfa_offset`.
    const FDE: &[u8] = b"\x10\0\0\0\x20\0\0\0\0\x41\x0e\x10";

    fn table(cie: &[u8], fde: &[u8]) -> Vec<u8> {
        let cie = entry(0, cie);
        let back = u32::try_from(cie.len() + 4).expect("short");
        [&cie[..], &entry(back, fde), &TERMINATOR].concat()
    }

    fn replaced(body: &[u8], index: usize, byte: u8) -> Vec<u8> {
        let mut body = body.to_vec();
        body[index] = byte;
        body
    }

    #[test]
    fn a_well_formed_table_gives_its_functions() {
        let cie = entry(0, CIE);
        assert_eq!(check(&table(CIE, FDE)), Ok(vec![cie.len()]));
        assert_eq!(check(&TERMINATOR), Ok(vec![]));
        assert_eq!(check(&[0; 16]), Ok(vec![]), "padding behind the terminator");
    }

    #[test]
    fn every_function_finds_its_own_cie() {
        // Addresses of two bytes in the second CIE: the second entry is too short for the first.
        let short = b"\x08\0\x04\0\0\x41";
        let (first, second) = (entry(0, CIE), entry(0, &replaced(CIE, 8, 0x1a)));
        let fde = entry(u32::try_from(second.len() + 4).expect("short"), short);
        let whole = [&first[..], &second, &fde, &TERMINATOR].concat();
        assert_eq!(check(&whole), Ok(vec![first.len() + second.len()]));
        let back = u32::try_from(first.len() + second.len() + 4).expect("short");
        let whole = [&first[..], &second, &entry(back, short), &TERMINATOR].concat();
        assert_eq!(
            check(&whole),
            Err(Error::Truncated(first.len() + second.len()))
        );
    }

    #[test]
    fn the_end_must_be_marked() {
        let whole = table(CIE, FDE);
        let unmarked = whole.len() - TERMINATOR.len();
        assert_eq!(check(&whole[..unmarked]), Err(Error::Unterminated));
        assert_eq!(
            check(&whole[..unmarked + 3]),
            Err(Error::Truncated(unmarked))
        );
        assert_eq!(check(&[]), Err(Error::Unterminated));
        let more = [&whole[..], &entry(0, CIE)].concat();
        assert_eq!(check(&more), Err(Error::Trailing(whole.len())));
    }

    #[test]
    fn lengths_must_fit() {
        let whole = table(CIE, FDE);
        let fde = entry(0, CIE).len();
        for cut in (1..whole.len()).filter(|&cut| cut != fde && cut != whole.len() - 4) {
            let result = check(&whole[..cut]);
            assert!(
                matches!(result, Err(Error::Truncated(_))),
                "cut at {cut}: {result:?}"
            );
        }
        let mut extended = whole.clone();
        extended[..4].fill(0xff);
        assert_eq!(check(&extended), Err(Error::ExtendedLength(0)));
        let mut long = whole.clone();
        long[..4].copy_from_slice(&0x7fff_fff0_u32.to_ne_bytes());
        assert_eq!(check(&long), Err(Error::Truncated(0)));
        for length in 1..4_u32 {
            let mut short = whole.clone();
            short[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(check(&short), Err(Error::Truncated(0)));
        }
    }

    #[test]
    fn a_cie_pointer_must_lead_to_a_cie() {
        let cie = entry(0, CIE);
        let at = cie.len();
        let right = u32::try_from(at + 4).expect("short");
        for back in [1, 4, right - 1, right + 1, right + 4, u32::MAX] {
            let whole = [&cie[..], &entry(back, FDE), &TERMINATOR].concat();
            assert_eq!(check(&whole), Err(Error::CiePointer(at)), "{back:#x} back");
        }
        // An entry for a function is no CIE.
        let fde = entry(right, FDE);
        let to_fde = entry(u32::try_from(fde.len() + 4).expect("short"), FDE);
        let whole = [&cie[..], &fde, &to_fde, &TERMINATOR].concat();
        assert_eq!(check(&whole), Err(Error::CiePointer(at + fde.len())));
    }

    #[test]
    fn a_cie_must_be_understood() {
        let body = |augmentation: &[u8], data: &[u8]| {
            [b"\x01", augmentation, b"\0\x01\x78\x10", data].concat()
        };
        for (cie, expected) in [
            (replaced(CIE, 0, 2), Error::Version(0)),
            (replaced(CIE, 0, 4), Error::Version(0)),
            (body(b"eh", b""), Error::Augmentation(0)),
            (body(b"zQ", b"\x01\x1b"), Error::Augmentation(0)),
            (body(b"zR", b"\x01\xff"), Error::Encoding(0)),
            (body(b"zR", b"\x01\x9b"), Error::Encoding(0)),
            (body(b"zR", b"\x01\x01"), Error::Encoding(0)),
            (body(b"zR", b"\x01\x3b"), Error::Encoding(0)),
            (body(b"zP", b"\x02\x50\0"), Error::Encoding(0)),
            (body(b"zP", b"\x03\x1b\0\0"), Error::Truncated(0)),
            (body(b"zR", b"\0"), Error::Truncated(0)),
            (body(b"zR", b"\x09\x1b"), Error::Truncated(0)),
            (body(b"", b"\x17"), Error::Instructions(0)),
            (body(b"", b"\x0c\x07"), Error::Instructions(0)),
        ] {
            assert_eq!(check(&table(&cie, FDE)), Err(expected), "{cie:x?}");
        }
        let known = body(b"zPLRSB", b"\x07\x9b\0\0\0\0\x1b\x1b\x0c\x07\x08");
        assert!(check(&table(&known, FDE)).is_ok());
        let version_3 = replaced(CIE, 0, 3);
        assert!(check(&table(&version_3, FDE)).is_ok());
    }

    #[test]
    fn a_function_must_have_code_and_known_instructions() {
        let at = entry(0, CIE).len();
        for (fde, expected) in [
            (b"\0\0\0\0\x20\0\0\0\0\x41".to_vec(), Error::NoCode(at)),
            (b"\x10\0\0\0\0\0\0\0\0\x41".to_vec(), Error::NoCode(at)),
            (b"\x10\0\0\0\x20\0\0\0".to_vec(), Error::Truncated(at)),
            (
                b"\x10\0\0\0\x20\0\0\0\x09\x41".to_vec(),
                Error::Truncated(at),
            ),
            (replaced(FDE, 9, 0x3f), Error::Instructions(at)),
            (
                b"\x10\0\0\0\x20\0\0\0\0\x0e".to_vec(),
                Error::Instructions(at),
            ),
        ] {
            assert_eq!(check(&table(CIE, &fde)), Err(expected), "{fde:x?}");
        }
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic() {
        let whole = table(CIE, FDE);
        arbtest::arbtest(|u| {
            let mut bytes = whole.clone();
            for _ in 0..u.int_in_range(1..=4_u8)? {
                let index = u.choose_index(bytes.len())?;
                bytes[index] = u.arbitrary()?;
            }
            bytes.truncate(u.int_in_range(0..=bytes.len())?);
            if let Ok(functions) = check(&bytes) {
                assert!(functions.iter().all(|&offset| offset + 12 < bytes.len()));
            }
            let _ = check(&u.arbitrary::<Vec<u8>>()?);
            Ok(())
        });
    }

    /// The unwind table of the running test, as the linker put it together.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    #[test]
    fn the_tables_of_this_very_program_are_well_formed() {
        let file = std::fs::read("/proc/self/exe").expect("the running program");
        let number = |offset: usize, bytes: usize| {
            let mut word = [0; 8];
            word[..bytes].copy_from_slice(&file[offset..offset + bytes]);
            usize::try_from(u64::from_ne_bytes(word)).expect("64 bits")
        };
        // ELF64: the section headers, each of 64 bytes, and the section with their names.
        let section = |index: usize| number(0x28, 8) + 64 * index;
        let content = |header: usize| {
            let (offset, size) = (number(header + 0x18, 8), number(header + 0x20, 8));
            &file[offset..offset + size]
        };
        let names = content(section(number(0x3e, 2)));
        let table = (0..number(0x3c, 2))
            .map(section)
            .find(|&header| names[number(header, 4)..].starts_with(b".eh_frame\0"))
            .map(content)
            .expect("a section with unwind tables");
        let functions = check(table).expect("well formed");
        assert!(functions.len() > 100, "{} functions", functions.len());
    }
}
