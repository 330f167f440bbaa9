//! Reading the `.wasmtime.stackmap` section.
//!
//! The section is a sequence of little-endian 32-bit numbers: how many
//! safepoints, their code offsets in rising order, where the map of each is,
//! and the maps. `wasmtime-environ` 48 reads and writes it
//! (`StackMapSection`); its iterator trusts the counts, its lookup checks
//! them, so this goes by lookups.

use crate::registry::RegisterError;
use crate::stack_map::StackMap;
use alloc::vec::Vec;

/// Sections from this size on, in bytes, are refused.
///
/// Offsets within a map of this size could overflow 32 bits.
const MAX_BYTES: usize = 1 << 27;

/// Visits each safepoint of `section`, in rising order of code offset.
pub(crate) fn read(
    section: &[u8],
    mut visit: impl FnMut(u32, StackMap) -> Result<(), RegisterError>,
) -> Result<(), RegisterError> {
    if section.is_empty() {
        return Ok(());
    }
    if section.len() >= MAX_BYTES || !section.len().is_multiple_of(4) {
        return Err(RegisterError::MalformedSection);
    }
    let words = aligned(section)?;
    let (count, rest) = words.split_first().ok_or(RegisterError::MalformedSection)?;
    let offsets = usize::try_from(u32::from_le(*count))
        .ok()
        .and_then(|count| rest.get(..count))
        .ok_or(RegisterError::MalformedSection)?;
    if !offsets.is_sorted_by_key(|offset| u32::from_le(*offset)) {
        return Err(RegisterError::MalformedSection);
    }
    let bytes = bytes_of(&words);
    for offset in offsets.iter().copied().map(u32::from_le) {
        let map = wasmtime_environ::StackMap::lookup(offset, bytes)
            .ok_or(RegisterError::MalformedSection)?;
        let map = StackMap::from_byte_offsets(Some(map.frame_size()), map.offsets())?;
        visit(offset, map)?;
    }
    Ok(())
}

/// The section's words; its bytes may stand at any address.
fn aligned(section: &[u8]) -> Result<Vec<u32>, RegisterError> {
    let mut words = Vec::new();
    words
        .try_reserve_exact(section.len() / 4)
        .map_err(|_| RegisterError::OutOfMemory)?;
    let chunks = section.chunks_exact(4);
    words.extend(chunks.map(|c| u32::from_ne_bytes([c[0], c[1], c[2], c[3]])));
    Ok(words)
}

fn bytes_of(words: &[u32]) -> &[u8] {
    // SAFETY: a slice of integers is initialised memory, and bytes need no alignment.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::WORD;

    /// Bytes of a section whose maps are `[frame_bytes, count, bits…]`.
    fn section(safepoints: &[(u32, &[u32])]) -> Vec<u8> {
        let mut data = Vec::new();
        let mut words = vec![u32::try_from(safepoints.len()).unwrap()];
        words.extend(safepoints.iter().map(|(offset, _)| *offset));
        for (_, map) in safepoints {
            words.push(u32::try_from(data.len()).unwrap());
            data.extend_from_slice(map);
        }
        words.extend(data);
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<(u32, Vec<u32>)>, RegisterError> {
        let mut found = Vec::new();
        read(bytes, |offset, map| {
            found.push((offset, map.live_words().collect()));
            Ok(())
        })?;
        Ok(found)
    }

    /// The bit of word `word`, where a bit stands for four bytes.
    fn bit(word: usize) -> u32 {
        1 << (word * WORD / 4)
    }

    #[test]
    fn every_safepoint_comes_back() {
        let bytes = section(&[
            (0x10, &[64, 1, bit(0) | bit(2)]),
            (0x24, &[512, 3, 0, 0, bit(1)]),
        ]);
        let far = u32::try_from(2 * 32 * 4 / WORD + 1).unwrap();
        let expected = vec![(0x10, vec![0, 2]), (0x24, vec![far])];
        assert_eq!(read_all(&bytes).unwrap(), expected);
        let mut shifted = vec![0];
        shifted.extend(&bytes);
        assert_eq!(read_all(&shifted[1..]).unwrap(), expected);
        assert_eq!(read_all(&[]).unwrap(), []);
    }

    #[test]
    fn malformed_sections_are_errors() {
        let good = section(&[(0x10, &[64, 1, 1]), (0x20, &[64, 1, 1])]);
        for cut in (1..good.len()).rev() {
            assert!(read_all(&good[..cut]).is_err(), "{cut} bytes");
        }
        let unsorted = section(&[(0x20, &[64, 1, 1]), (0x10, &[64, 1, 1])]);
        assert_eq!(read_all(&unsorted), Err(RegisterError::MalformedSection));
        let outside = section(&[(0x10, &[8, 1, 1 << 31])]);
        assert!(matches!(
            read_all(&outside),
            Err(RegisterError::StackMap(_))
        ));
        let huge = section(&[(0x10, &[64, u32::MAX, 1])]);
        assert_eq!(read_all(&huge), Err(RegisterError::MalformedSection));
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        arbtest::arbtest(|u| {
            let bytes: Vec<u8> = u.arbitrary()?;
            let _ = read_all(&bytes);
            Ok(())
        });
    }
}
