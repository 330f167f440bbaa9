//! The section that describes a module.

use crate::elf::object_file_error::ObjectFileError;
use crate::elf::sections::VERSION;
#[cfg(feature = "write")]
use alloc::vec::Vec;

/// The contents of the section.
pub(crate) struct Description<'a> {
    /// The [`checksum`] of text, unwind tables, stack maps and module.
    pub(crate) checksum: u64,
    /// The module in `postcard`.
    pub(crate) module: &'a [u8],
}

impl<'a> Description<'a> {
    /// Splits the bytes of the section.
    pub(crate) fn read(section: &'a [u8]) -> Result<Self, ObjectFileError> {
        let (version, rest) = section
            .split_first_chunk()
            .ok_or(ObjectFileError::Damaged)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(ObjectFileError::Version { found: version });
        }
        let (checksum, module) = rest.split_first_chunk().ok_or(ObjectFileError::Damaged)?;
        Ok(Self {
            checksum: u64::from_le_bytes(*checksum),
            module,
        })
    }

    /// The bytes of the section.
    #[cfg(feature = "write")]
    pub(crate) fn write(&self) -> Vec<u8> {
        let head = [&VERSION.to_le_bytes()[..], &self.checksum.to_le_bytes()];
        [head.as_slice(), &[self.module]].concat().concat()
    }
}

/// FNV-1a over the parts and their lengths; any single changed byte changes it.
pub(crate) fn checksum(parts: [&[u8]; 4]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let lengths = parts.map(|part| (part.len() as u64).to_le_bytes());
    let bytes = lengths.iter().flatten().chain(parts.into_iter().flatten());
    bytes.fold(BASIS, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "write")]
    #[test]
    fn descriptions_come_back() {
        use super::{Description, ObjectFileError, VERSION};

        let written = Description {
            checksum: 0x0123_4567_89ab_cdef,
            module: b"module",
        };
        let bytes = written.write();
        let read = Description::read(&bytes).unwrap();
        assert_eq!(read.checksum, written.checksum);
        assert_eq!(read.module, written.module);
        for cut in 0..12 {
            let error = Description::read(&bytes[..cut]).err();
            assert_eq!(error, Some(ObjectFileError::Damaged), "{cut}");
        }
        let mut other = bytes;
        other[0] += 1;
        let error = Description::read(&other).err();
        let found = VERSION + 1;
        assert_eq!(error, Some(ObjectFileError::Version { found }));
    }

    #[test]
    fn the_checksum_sees_where_parts_end() {
        use super::checksum;

        let one = checksum([b"ab", b"c", b"", b"d"]);
        assert_ne!(one, checksum([b"a", b"bc", b"", b"d"]));
        assert_ne!(one, checksum([b"ab", b"c", b"", b"e"]));
        assert_eq!(one, checksum([b"ab", b"c", b"", b"d"]));
    }
}
