//! The augmentation of a CIE: letters, and the data that they announce.
//!
//! gimli accepts more than both unwinders read alike:
//!
//! - To find a function, GCC's unwinder reads the encoding of addresses (`get_cie_encoding` in
//!   `libgcc/unwind-dw2-fde.c`). Behind `z` it skips `P`, `L` and `B` until it finds `R`. At any
//!   other letter, such as `S`, it gives up, and takes the addresses for absolute. For `B` it skips
//!   a byte of data, although `B` has none.
//! - To unwind the function, it reads all letters (`extract_cie_info` in `libgcc/unwind-dw2.c`):
//!   `eh`, then `z`, then `L`, `R`, `P`, `S` and `B` in any order. It stops at any other letter.
//! - LLVM's unwinder (`parseCIE` in `libunwind/src/DwarfParser.hpp`) ignores all letters unless the
//!   first is `z`, and skips unknown letters. The instructions start where the data of the known
//!   letters ends, whatever the length of the data says.

use crate::error::UnwindTablesError as Error;
use crate::expression::Slice;
use gimli::{CommonInformationEntry, DwEhPe, Reader, ReaderOffset};

/// The addresses that a table may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// Absolute addresses only, as the table may be copied.
    Absolute,
    /// Absolute addresses, and addresses relative to themselves.
    Any,
}

/// Checks the augmentation of `cie`, with which `table` starts.
///
/// Returns the size in bytes of addresses in the entries for functions.
pub(crate) fn check(
    cie: &CommonInformationEntry<Slice<'_>>,
    table: Slice<'_>,
    allowed: Addresses,
) -> Result<usize, Error> {
    let offset = cie.offset();
    let (letters, data_bytes) = read(table).map_err(|_| Error::Truncated(offset))?;
    if !is_understood(&letters) {
        return Err(Error::Augmentation(offset));
    }
    let function = cie.fde_address_encoding().unwrap_or(gimli::DW_EH_PE_absptr);
    let personality = cie
        .personality_with_encoding()
        .map(|(encoding, _)| encoding);
    let lsda = cie.lsda_encoding();

    let bad = Error::Encoding(offset);
    if function.is_indirect() {
        return Err(bad);
    }
    let function_bytes = address_bytes(function).ok_or(bad)?;
    let personality_bytes = personality.map_or(Some(0), address_bytes).ok_or(bad)?;
    lsda.map_or(Some(0), address_bytes).ok_or(bad)?;

    let encodings = letters.iter().filter(|letter| b"PLR".contains(letter));
    if data_bytes != encodings.count() + personality_bytes {
        return Err(Error::Augmentation(offset));
    }
    let is_relative = |encoding: DwEhPe| encoding.application() == gimli::DW_EH_PE_pcrel;
    let mut addresses = [Some(function), personality, lsda].into_iter().flatten();
    if allowed == Addresses::Absolute && addresses.any(is_relative) {
        return Err(Error::Relative(offset));
    }
    Ok(function_bytes)
}

/// The letters of the CIE with which `table` starts, and the size of their data in bytes.
fn read(mut table: Slice<'_>) -> gimli::Result<(Slice<'_>, usize)> {
    // The length, and the identifier of a CIE.
    table.skip(8)?;
    let version = table.read_u8()?;
    let letters = table.read_null_terminated_slice()?;
    // The alignment factors of code and of data, and the return address's register.
    table.read_uleb128()?;
    table.read_sleb128()?;
    if version == 1 {
        table.read_u8()?;
    } else {
        table.read_uleb128()?;
    }
    let data_bytes = if letters.is_empty() {
        0
    } else {
        usize::from_u64(table.read_uleb128()?)?
    };
    Ok((letters, data_bytes))
}

/// Whether both unwinders read these letters alike. gimli has refused unknown letters.
fn is_understood(letters: &[u8]) -> bool {
    let place = |letter| letters.iter().position(|&other| other == letter);
    let has_each_once = letters.len() <= b"zPLRS".len()
        && (1..letters.len()).all(|next| !letters[next..].contains(&letters[next - 1]));
    let finds_encoding = match (place(b'R'), place(b'S')) {
        (Some(encoding), Some(signal_frame)) => encoding < signal_frame,
        _ => true,
    };
    letters.first().is_none_or(|&first| first == b'z') && has_each_once && finds_encoding
}

/// The size in bytes of an address in this encoding; `None` if an unwinder does not read it.
fn address_bytes(encoding: DwEhPe) -> Option<usize> {
    if ![gimli::DW_EH_PE_absptr, gimli::DW_EH_PE_pcrel].contains(&encoding.application()) {
        return None;
    }
    match encoding.format() {
        gimli::DW_EH_PE_absptr => Some(size_of::<usize>()),
        gimli::DW_EH_PE_udata2 | gimli::DW_EH_PE_sdata2 => Some(2),
        gimli::DW_EH_PE_udata4 | gimli::DW_EH_PE_sdata4 => Some(4),
        gimli::DW_EH_PE_udata8 | gimli::DW_EH_PE_sdata8 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Addresses, Error, check};
    use crate::expression::Slice;
    use gimli::{BaseAddresses, EhFrame, EhFrameOffset, NativeEndian, UnwindSection};

    fn judge(letters: &str, data: &[u8], allowed: Addresses) -> Result<usize, Error> {
        let body = [
            &[0, 0, 0, 0, 1],
            letters.as_bytes(),
            b"\0\x01\x78\x0e",
            data,
            // Enough for data that is announced too long.
            &[0; 8],
        ];
        let body = body.concat();
        let length = u32::try_from(body.len()).expect("short");
        let cie = [&length.to_ne_bytes()[..], &body].concat();
        let bases = BaseAddresses::default().set_eh_frame(0);
        let parsed =
            EhFrame::new(&cie, NativeEndian).cie_from_offset(&bases, EhFrameOffset::from(0));
        match parsed {
            Ok(parsed) => check(&parsed, Slice::new(&cie, NativeEndian), allowed),
            Err(gimli::Error::UnknownAugmentation) => Err(Error::Augmentation(0)),
            Err(error) => panic!("{letters}: {error}"),
        }
    }

    const WORD: usize = size_of::<usize>();

    #[test]
    fn letters_that_both_unwinders_read_alike_are_accepted() {
        for (letters, data, address_bytes) in [
            ("", &[][..], WORD),
            ("z", &[0], WORD),
            ("zR", &[1, 0x1b], 4),
            ("zRS", &[1, 0x1b], 4),
            ("zS", &[0], WORD),
            ("zPLR", &[7, 0x9b, 1, 2, 3, 4, 0x1b, 0x1b], 4),
            ("zPLRS", &[7, 0x9b, 1, 2, 3, 4, 0x1b, 0x1c], 8),
            ("zLRP", &[5, 0x1b, 0x1a, 0x02, 1, 2], 2),
            ("zRSLP", &[5, 0x03, 0x1b, 0x02, 1, 2], 4),
        ] {
            let judged = judge(letters, data, Addresses::Any);
            assert_eq!(judged, Ok(address_bytes), "{letters}");
        }
    }

    #[test]
    fn letters_that_an_unwinder_does_not_know_or_misreads_are_refused() {
        for (letters, data) in [
            // GCC's unwinder looks for `R` only up to `S`. gimli does not know `B`.
            ("zSR", &[1, 0x1b][..]),
            ("zPSLR", &[7, 0x9b, 1, 2, 3, 4, 0x1b, 0x1b]),
            ("zBR", &[1, 0x1b]),
            ("zRB", &[1, 0x1b]),
            // GCC's unwinder reads the first `R` in one place, and the last in another.
            ("zRR", &[2, 0x1b, 0x00]),
            ("zSS", &[0]),
            // LLVM's unwinder reads letters behind `z` only.
            ("S", &[]),
            ("R", &[0x1b]),
            ("Sz", &[0]),
            ("zz", &[0]),
            ("eh", &[0; WORD]),
            ("ehzR", &[0; WORD]),
            ("zRG", &[1, 0x1b]),
            ("zQ", &[0]),
            ("ZR", &[1, 0x1b]),
        ] {
            let judged = judge(letters, data, Addresses::Any);
            assert_eq!(judged, Err(Error::Augmentation(0)), "{letters}");
        }
        let many = format!("z{}", "S".repeat(1 << 20));
        let judged = judge(&many, &[0], Addresses::Any);
        assert_eq!(judged, Err(Error::Augmentation(0)));
    }

    #[test]
    fn data_that_no_letter_accounts_for_is_refused() {
        // LLVM's unwinder would run it as instructions.
        for (letters, data) in [
            ("z", &[1, 0][..]),
            ("zS", &[2, 0, 0]),
            ("zR", &[2, 0x1b, 0]),
            ("zPLR", &[8, 0x9b, 1, 2, 3, 4, 0x1b, 0x1b, 0]),
        ] {
            let judged = judge(letters, data, Addresses::Any);
            assert_eq!(judged, Err(Error::Augmentation(0)), "{letters}");
        }
    }

    #[test]
    fn encodings_that_an_unwinder_does_not_read_are_refused() {
        for encoding in [
            0x01, 0x09, 0x20, 0x23, 0x2b, 0x30, 0x3b, 0x40, 0x50, 0x11, 0x19, 0xff,
        ] {
            for letters in ["zR", "zL"] {
                let judged = judge(letters, &[1, encoding], Addresses::Any);
                assert_eq!(judged, Err(Error::Encoding(0)), "{letters} {encoding:#x}");
            }
        }
        for encoding in [0x80, 0x9b] {
            let judged = judge("zR", &[1, encoding], Addresses::Any);
            assert_eq!(judged, Err(Error::Encoding(0)), "indirect: {encoding:#x}");
            assert!(judge("zL", &[1, encoding], Addresses::Any).is_ok());
        }
        // gimli reads these personalities.
        for (data, length) in [(&[0x01, 1][..], 2), (&[0x19, 1], 2), (&[0x91, 1], 2)] {
            let data = [&[length][..], data].concat();
            let judged = judge("zP", &data, Addresses::Any);
            assert_eq!(judged, Err(Error::Encoding(0)), "{data:x?}");
        }
    }

    #[test]
    fn relative_addresses_are_refused_where_the_table_is_copied() {
        for (letters, data) in [
            ("zR", &[1, 0x1b][..]),
            ("zL", &[1, 0x1b]),
            ("zP", &[5, 0x9b, 1, 2, 3, 4]),
            ("zR", &[1, 0x10]),
        ] {
            let judged = judge(letters, data, Addresses::Absolute);
            assert_eq!(judged, Err(Error::Relative(0)), "{letters}");
            assert!(judge(letters, data, Addresses::Any).is_ok(), "{letters}");
        }
        for (letters, data) in [
            ("", &[][..]),
            ("zR", &[1, 0x00]),
            ("zR", &[1, 0x04]),
            ("zPLR", &[7, 0x83, 1, 2, 3, 4, 0x0b, 0x03]),
        ] {
            assert!(
                judge(letters, data, Addresses::Absolute).is_ok(),
                "{letters}"
            );
        }
    }
}
