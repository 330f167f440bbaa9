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
//! The format is that of the Linux Standard Base, section 10.6, which gimli reads. In addition,
//! this refuses what GCC's or LLVM's unwinder does not understand or aborts at.

use crate::augmentation::{self, Addresses};
use crate::error::UnwindTablesError as Error;
use crate::expression::Slice;
use crate::instructions::Program;
use crate::registers;
use core::ops::Range;
use gimli::{BaseAddresses, CieOrFde, CommonInformationEntry, EhFrame, NativeEndian};
use gimli::{FrameDescriptionEntry, UnwindSection, Vendor};

fn push<T>(items: &mut Vec<T>, item: T) -> Result<(), Error> {
    items.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
    items.push(item);
    Ok(())
}

/// A function that a table describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// The offset of its entry in the table, in bytes.
    pub(crate) entry: usize,
    /// The addresses of its code.
    pub(crate) code: Range<u64>,
}

/// Checks a whole table where it lies, and returns the functions that it describes.
pub(crate) fn check(table: &[u8], allowed: Addresses) -> Result<Vec<Function>, Error> {
    let section = section(table);
    let bases = BaseAddresses::default().set_eh_frame(table.as_ptr().addr() as u64);
    let mut entries = section.entries(&bases);
    let mut commons: Vec<Common<'_>> = Vec::new();
    let mut functions = Vec::new();
    let mut offset = 0;
    loop {
        let rest = &table[offset..];
        if rest.is_empty() {
            return Err(Error::Unterminated);
        }
        if rest.starts_with(&[0xff; 4]) {
            return Err(Error::ExtendedLength(offset));
        }
        let length = match entries.next().map_err(|error| refusal(error, offset))? {
            None if rest.iter().all(|&byte| byte == 0) => return Ok(functions),
            None => return Err(Error::Trailing(offset + 4)),
            Some(CieOrFde::Cie(cie)) => {
                let length = cie.entry_len();
                let common = Common::check(cie, rest, section, &bases, allowed)?;
                push(&mut commons, common)?;
                length
            }
            Some(CieOrFde::Fde(entry)) => {
                let common = common_at(&commons, entry.cie_offset().0);
                let common = common.ok_or(Error::CiePointer(offset))?;
                let function = entry
                    .parse(|_, _, _| Ok(common.cie.clone()))
                    .map_err(|error| refusal(error, offset))?;
                common.check_function(&function, rest, section, &bases)?;
                let code = function.initial_address()..function.end_address();
                push(
                    &mut functions,
                    Function {
                        entry: offset,
                        code,
                    },
                )?;
                entry.entry_len()
            }
        };
        offset += 4 + length;
    }
}

/// A table with the instructions that this architecture has.
pub(crate) fn section(table: &[u8]) -> EhFrame<Slice<'_>> {
    let mut section = EhFrame::new(table, NativeEndian);
    if cfg!(target_arch = "aarch64") {
        section.set_vendor(Vendor::AArch64);
    }
    section
}

/// The CIE at this offset.
fn common_at<'c, 'a>(commons: &'c [Common<'a>], offset: usize) -> Option<&'c Common<'a>> {
    let index = commons
        .binary_search_by_key(&offset, |common| common.cie.offset())
        .ok()?;
    Some(&commons[index])
}

/// Converts gimli's error for the entry at `offset`.
fn refusal(error: gimli::Error, offset: usize) -> Error {
    match error {
        gimli::Error::UnknownVersion(_) => Error::Version(offset),
        gimli::Error::UnknownAugmentation => Error::Augmentation(offset),
        gimli::Error::UnsupportedRegister(_) => Error::ReturnAddress(offset),
        gimli::Error::OffsetOutOfBounds(_) => Error::CiePointer(offset),
        gimli::Error::UnknownPointerEncoding(_)
        | gimli::Error::UnsupportedPointerEncoding(_)
        | gimli::Error::CannotParseOmitPointerEncoding
        | gimli::Error::TextRelativePointerButTextBaseIsUndefined
        | gimli::Error::DataRelativePointerButDataBaseIsUndefined
        | gimli::Error::FuncRelativePointerInBadContext => Error::Encoding(offset),
        _ => Error::Truncated(offset),
    }
}

/// A checked CIE, as the entries for its functions need it.
struct Common<'a> {
    cie: CommonInformationEntry<Slice<'a>>,
    /// The size of a function's address, in bytes.
    address_bytes: usize,
    program: Program<'a>,
}

impl<'a> Common<'a> {
    /// Checks a CIE, with which `rest` starts.
    fn check(
        cie: CommonInformationEntry<Slice<'a>>,
        rest: &'a [u8],
        section: EhFrame<Slice<'a>>,
        bases: &BaseAddresses,
        allowed: Addresses,
    ) -> Result<Self, Error> {
        let offset = cie.offset();
        // LLVM's unwinder knows no other version.
        if cie.version() != 1 && cie.version() != 3 {
            return Err(Error::Version(offset));
        }
        let address_bytes = augmentation::check(&cie, Slice::new(rest, NativeEndian), allowed)?;
        if !registers::is_general(cie.return_address_register()) {
            return Err(Error::ReturnAddress(offset));
        }
        let instructions = cie.instructions(&section, bases);
        let program = Program::of_cie(section, cie.encoding(), instructions)
            .ok_or(Error::Instructions(offset))?;
        Ok(Self {
            cie,
            address_bytes,
            program,
        })
    }

    /// Checks the entry of one function, with which `rest` starts.
    fn check_function(
        &self,
        function: &FrameDescriptionEntry<Slice<'a>>,
        rest: &[u8],
        section: EhFrame<Slice<'a>>,
        bases: &BaseAddresses,
    ) -> Result<(), Error> {
        let offset = function.offset();
        // GCC's unwinder ignores a function if its start is stored as zero, or if the start's
        // lowest bytes, as many as are stored, are zero. The length and the CIE pointer precede the
        // start.
        let stored = &rest[8..8 + self.address_bytes];
        let start = function.initial_address();
        let lowest = &start.to_le_bytes()[..self.address_bytes];
        let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        if is_zero(stored) || is_zero(lowest) || function.end_address() <= start {
            return Err(Error::NoCode(offset));
        }
        self.program
            .check_function(function.instructions(&section, bases))
            .ok_or(Error::Instructions(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::{Addresses, Error};

    fn check(table: &[u8]) -> Result<Vec<usize>, Error> {
        let functions = super::check(table, Addresses::Any)?;
        Ok(functions.iter().map(|function| function.entry).collect())
    }

    /// An entry with `body` behind its length and its identifier or CIE pointer.
    fn entry(id: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(4 + body.len()).expect("short");
        [&length.to_ne_bytes(), &id.to_ne_bytes(), body].concat()
    }

    const TERMINATOR: [u8; 4] = [0; 4];
    /// Version 1, "zR", factors 1 and -8, register 8, which every processor has, addresses of four
    /// bytes, `def_cfa`, nops.
    const CIE: &[u8] = b"\x01zR\0\x01\x78\x08\x01\x1b\x0c\x07\x08\0\0\0\0";
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
            [b"\x01", augmentation, b"\0\x01\x78\x08", data].concat()
        };
        for (cie, expected) in [
            (replaced(CIE, 0, 2), Error::Version(0)),
            (replaced(CIE, 0, 4), Error::Version(0)),
            (body(b"eh", b""), Error::Augmentation(0)),
            (body(b"zQ", b"\x01\x1b"), Error::Augmentation(0)),
            (
                body(b"zSR", b"\x01\x1b\x0c\x07\x08"),
                Error::Augmentation(0),
            ),
            (body(b"zR", b"\x01\xff"), Error::Encoding(0)),
            (body(b"zR", b"\x01\x9b"), Error::Encoding(0)),
            (body(b"zR", b"\x01\x01"), Error::Encoding(0)),
            (body(b"zR", b"\x01\x0f"), Error::Encoding(0)),
            (body(b"zR", b"\x01\x3b"), Error::Encoding(0)),
            (body(b"zL", b"\x01\x70"), Error::Encoding(0)),
            (body(b"zP", b"\x02\x50\0"), Error::Encoding(0)),
            (body(b"zP", b"\x02\x20\0"), Error::Encoding(0)),
            (body(b"zP", b"\x02\x30\0"), Error::Encoding(0)),
            (body(b"zP", b"\x02\x40\0"), Error::Encoding(0)),
            (body(b"zP", b"\x01\xff"), Error::Encoding(0)),
            (body(b"zP", b"\x03\x1b\0\0"), Error::Truncated(0)),
            (body(b"zR", b"\0"), Error::Truncated(0)),
            (body(b"zR", b"\x09\x1b"), Error::Truncated(0)),
            (body(b"", b"\x17"), Error::Instructions(0)),
            (body(b"", b"\x0c\x07"), Error::Instructions(0)),
            (
                b"\x03\0\x01\x78\xff\x7f\x0c\x07\x08".into(),
                Error::ReturnAddress(0),
            ),
            (
                b"\x03\0\x01\x78\xff\xff\x7f\x0c\x07\x08".into(),
                Error::ReturnAddress(0),
            ),
        ] {
            assert_eq!(check(&table(&cie, FDE)), Err(expected), "{cie:x?}");
        }
        let known = body(b"zPLRS", b"\x07\x9b\0\0\0\0\x1b\x1b\x0c\x07\x08");
        let with_lsda = b"\x10\0\0\0\x20\0\0\0\x04\0\0\0\0\x41\x0e\x10";
        assert!(check(&table(&known, with_lsda)).is_ok());
        let version_3 = replaced(CIE, 0, 3);
        assert!(check(&table(&version_3, FDE)).is_ok());
    }

    #[test]
    fn a_cie_of_a_table_that_is_copied_has_absolute_addresses() {
        let relative = table(CIE, FDE);
        assert_eq!(
            super::check(&relative, Addresses::Absolute),
            Err(Error::Relative(0))
        );
        let absolute = table(&replaced(CIE, 8, 0x03), FDE);
        assert!(super::check(&absolute, Addresses::Absolute).is_ok());
    }

    #[test]
    fn a_function_must_have_code_and_known_instructions() {
        let at = entry(0, CIE).len();
        for (fde, expected) in [
            (b"\0\0\0\0\x20\0\0\0\0\x41".to_vec(), Error::NoCode(at)),
            (b"\x10\0\0\0\0\0\0\0\0\x41".to_vec(), Error::NoCode(at)),
            // The size is signed.
            (
                [b"\x10\0\0\0", &i32::MIN.to_ne_bytes()[..], b"\0\x41"].concat(),
                Error::NoCode(at),
            ),
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
        // The function's data is too short for its LSDA.
        let with_lsda = b"\x01zLR\0\x01\x78\x08\x02\x1b\x1b\x0c\x07\x08";
        let at = entry(0, with_lsda).len();
        let fde = b"\x10\0\0\0\x20\0\0\0\x03\0\0\0\x41";
        assert_eq!(check(&table(with_lsda, fde)), Err(Error::Truncated(at)));
    }

    #[test]
    fn a_function_ends_within_memory() {
        let cie = replaced(CIE, 8, 0x00);
        let last = |size: usize| {
            let fde = [
                &(usize::MAX - 15).to_ne_bytes(),
                &size.to_ne_bytes(),
                &[0][..],
            ]
            .concat();
            check(&table(&cie, &fde))
        };
        let at = entry(0, &cie).len();
        assert_eq!(last(15), Ok(vec![at]));
        assert_eq!(last(17), Err(Error::NoCode(at)));
        assert_eq!(last(usize::MAX), Err(Error::NoCode(at)));
    }

    #[test]
    fn a_function_whose_start_has_only_zeros_in_its_lowest_bytes_is_refused() {
        // GCC's unwinder ignores it.
        let mut whole = table(CIE, FDE);
        let at = entry(0, CIE).len();
        let field = u32::try_from(whole[at + 8..].as_ptr().addr() & 0xffff_ffff).expect("masked");
        whole[at + 8..at + 12].copy_from_slice(&field.wrapping_neg().to_ne_bytes());
        assert_eq!(check(&whole), Err(Error::NoCode(at)));
        whole[at + 8..at + 12].copy_from_slice(&field.wrapping_neg().wrapping_add(4).to_ne_bytes());
        assert_eq!(check(&whole), Ok(vec![at]));
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic() {
        // With a personality, an LSDA and an expression.
        let cie = b"\x01zPLRS\0\x01\x78\x08\x07\x9b\x01\0\0\0\x1b\x1b\x0f\x03\x77\x08\x06";
        let fde = b"\x10\0\0\0\x20\0\0\0\x04\x01\0\0\0\x0a\x41\x0e\x10\x0b";
        let wholes = [table(CIE, FDE), table(cie, fde)];
        assert!(wholes.iter().all(|whole| check(whole).is_ok()));
        arbtest::arbtest(|u| {
            let mut bytes = u.choose(&wholes)?.clone();
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

    #[test]
    fn a_long_cie_is_read_once_for_all_of_its_functions() {
        // Quadratic work on these four megabytes would take hours.
        let cie = entry(0, &[CIE, &vec![0; 2 << 20]].concat());
        let mut whole = cie.clone();
        while whole.len() < 2 * cie.len() {
            let back = u32::try_from(whole.len() + 4).expect("short");
            whole.extend(entry(back, FDE));
        }
        whole.extend(TERMINATOR);
        assert!(check(&whole).expect("well formed").len() > 90_000);
    }

    /// The unwind table of the running test, as the linker put it together.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    #[test]
    fn the_tables_of_this_very_program_are_well_formed() {
        let file = std::fs::read("/proc/self/exe").expect("the running program");
        let number = |offset: usize, bytes: usize| {
            let digits = file[offset..offset + bytes].iter();
            let append = |number, &digit| (number << 8) | usize::from(digit);
            if cfg!(target_endian = "little") {
                digits.rev().fold(0, append)
            } else {
                digits.fold(0, append)
            }
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
