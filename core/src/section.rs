//! Reading the `.wasmtime.stackmap` section.
//!
//! The section is a sequence of little-endian 32-bit numbers, which
//! `wasmtime-environ` 48 writes and reads (`StackMapSection`):
//!
//! ```text
//! | count | code offsets, rising | positions of their maps in the data | data |
//!
//! a map in the data:  | frame bytes | count | bits, one for four bytes of the frame |
//! ```
//!
//! Safepoints may share a map by its position. Maps at different positions
//! must not overlap: else a small section could describe maps whose total size
//! is the square of its own. `wasmtime-environ` writes each map apart.

use crate::module_maps::lists::{sort, with_capacity};
use crate::module_maps::{Matching, ModuleStackMaps, RegisterError};
use crate::stack_map::StackMap;
use alloc::vec::Vec;

/// Sections from this size on, in bytes, are refused.
///
/// Offsets within a map of this size could overflow 32 bits.
const MAX_BYTES: usize = 1 << 27;

impl ModuleStackMaps {
    /// Declares the safepoints of a `.wasmtime.stackmap` section.
    ///
    /// `section` is what `wasmtime-environ` wrote for this code. It has the
    /// return addresses at which something is live; where the module matches
    /// [strictly](Matching::Strict), the [others](Self::return_address) are
    /// declared apart, as functions are. Time and memory are linear in the
    /// section's size.
    ///
    /// # Errors
    ///
    /// A module that does not match return addresses; a section that is malformed, has
    /// 128 MiB or more, names a code offset twice, or has maps that overlap
    /// without being the same; or no memory. The module is then as it was.
    pub fn stack_map_section(&mut self, section: &[u8]) -> Result<(), RegisterError> {
        if self.matching() == Matching::NearestPreceding {
            return Err(RegisterError::NotReturnAddresses);
        }
        if section.is_empty() {
            return Ok(());
        }
        if section.len() >= MAX_BYTES || !section.len().is_multiple_of(4) {
            return Err(RegisterError::MalformedSection);
        }
        let words = aligned(section)?;
        Section::parse(&words)?.declare(self)
    }
}

/// The parts of a section.
struct Section<'s> {
    bytes: &'s [u8],
    offsets: &'s [u32],
    positions: &'s [u32],
    data: &'s [u32],
}

impl<'s> Section<'s> {
    fn parse(words: &'s [u32]) -> Result<Self, RegisterError> {
        let parts = || {
            let (count, rest) = words.split_first()?;
            let count = usize::try_from(u32::from_le(*count)).ok()?;
            let (offsets, rest) = rest.split_at_checked(count)?;
            let (positions, data) = rest.split_at_checked(count)?;
            let rising = offsets.is_sorted_by(|a, b| u32::from_le(*a) < u32::from_le(*b));
            rising.then_some((offsets, positions, data))
        };
        let (offsets, positions, data) = parts().ok_or(RegisterError::MalformedSection)?;
        Ok(Self {
            bytes: bytes_of(words),
            offsets,
            positions,
            data,
        })
    }

    /// Declares all safepoints of a module, or none.
    fn declare(&self, module: &mut ModuleStackMaps) -> Result<(), RegisterError> {
        let by_position = self.by_position()?;
        let runs = || by_position.chunk_by(|a, b| a.0 == b.0);
        let mut maps = with_capacity(runs().count())?;
        let mut safepoints = with_capacity(by_position.len())?;
        let mut end = 0;
        for (index, run) in (0..).zip(runs()) {
            let (position, offset) = run[0];
            end = self.end_of_map(position, end)?;
            let map = wasmtime_environ::StackMap::lookup(offset, self.bytes)
                .ok_or(RegisterError::MalformedSection)?;
            let map = StackMap::from_byte_offsets(Some(map.frame_size()), map.offsets())?;
            maps.push(map);
            safepoints.extend(run.iter().map(|&(_, offset)| (offset, index)));
        }
        module.sharing_safepoints(maps, safepoints)
    }

    /// The position of each map with its code offset, in rising order.
    fn by_position(&self) -> Result<Vec<(u32, u32)>, RegisterError> {
        let mut list = with_capacity(self.offsets.len())?;
        let pairs = self.positions.iter().zip(self.offsets);
        list.extend(
            pairs.map(|(&position, &offset)| (u32::from_le(position), u32::from_le(offset))),
        );
        sort(&mut list);
        Ok(list)
    }

    /// Where the map at `position` says that it ends; it must begin at or behind `free`.
    fn end_of_map(&self, position: u32, free: usize) -> Result<usize, RegisterError> {
        let end = || {
            let start = usize::try_from(position).ok()?;
            let count = *self.data.get(start.checked_add(1)?)?;
            let count = usize::try_from(u32::from_le(count)).ok()?;
            let end = start.checked_add(2)?.checked_add(count)?;
            (start >= free).then_some(end)
        };
        end().ok_or(RegisterError::MalformedSection)
    }
}

/// The section's words; its bytes may stand at any address.
fn aligned(section: &[u8]) -> Result<Vec<u32>, RegisterError> {
    let mut words = with_capacity(section.len() / 4)?;
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
    use crate::module_maps::Found;
    use crate::stack_map::StackMapError;

    const CODE_BYTES: u32 = 0x1000;

    /// The bytes of numbers in a section.
    fn little_endian(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// A section whose maps are `[frame_bytes, count, bits…]`.
    fn section(safepoints: &[(u32, &[u32])]) -> Vec<u8> {
        let mut data = Vec::new();
        let mut words = vec![u32::try_from(safepoints.len()).unwrap()];
        words.extend(safepoints.iter().map(|(offset, _)| *offset));
        for (_, map) in safepoints {
            words.push(u32::try_from(data.len()).unwrap());
            data.extend_from_slice(map);
        }
        words.extend(data);
        little_endian(&words)
    }

    /// Reads a section for code that is one function.
    fn read(bytes: &[u8]) -> Result<ModuleStackMaps, RegisterError> {
        let mut module = ModuleStackMaps::new(CODE_BYTES, Matching::Exact);
        module.function(0..CODE_BYTES)?;
        module.stack_map_section(bytes)?;
        Ok(module)
    }

    /// The code offsets at which words are live, and these words.
    fn live(bytes: &[u8]) -> Vec<(usize, Vec<u32>)> {
        let module = read(bytes).unwrap().finish(0).unwrap();
        let live = |offset: usize| match module.find(offset - 1) {
            Found::Wasm(Some(map)) => Some((offset, map.live_words().collect())),
            _ => None,
        };
        (1..=CODE_BYTES as usize).filter_map(live).collect()
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
        assert_eq!(live(&bytes), expected);
        let mut shifted = vec![0];
        shifted.extend(&bytes);
        assert_eq!(live(&shifted[1..]), expected);
        assert_eq!(live(&[]), []);
    }

    /// A compiler on a 64-bit machine wrote it, for `tests/programs/deep_recursion.wat` as bytecode
    /// for 32-bit machines. References are four bytes apart.
    const FOR_NARROW_WORDS: [u32; 36] = [
        7, 166, 190, 214, 236, 268, 286, 304, 0, 3, 6, 9, 12, 15, 18, // offsets, positions
        80, 1, 0b1000, 80, 1, 0b1100, 80, 1, 0b1110, 80, 1, 0b1111, // on the way down
        80, 1, 0b0111, 80, 1, 0b0011, 80, 1, 0b0001, // on the way up
    ];

    #[test]
    fn a_section_for_narrow_words_is_read_right_or_refused() {
        let expected = vec![
            (166, vec![3]),
            (190, vec![2, 3]),
            (214, vec![1, 2, 3]),
            (236, vec![0, 1, 2, 3]),
            (268, vec![0, 1, 2]),
            (286, vec![0, 1]),
            (304, vec![0]),
        ];
        let bytes = little_endian(&FOR_NARROW_WORDS);
        if WORD == 4 {
            assert_eq!(live(&bytes), expected);
            return;
        }
        let refused = read(&bytes).unwrap_err();
        assert_eq!(refused, RegisterError::StackMap(StackMapError::Unaligned));
        // Each map alone: one whose references begin at words here is the same bytes.
        let maps = FOR_NARROW_WORDS[15..].chunks(3);
        for ((offset, narrow), map) in expected.into_iter().zip(maps) {
            let bytes = section(&[(u32::try_from(offset).unwrap(), map)]);
            if narrow == [0] {
                assert_eq!(live(&bytes), [(offset, narrow)]);
            } else {
                let refused = read(&bytes).unwrap_err();
                assert_eq!(refused, RegisterError::StackMap(StackMapError::Unaligned));
            }
        }
    }

    #[test]
    fn safepoints_may_share_a_map() {
        let bytes = little_endian(&[3, 0x10, 0x20, 0x30, 3, 0, 3, 64, 1, bit(1), 64, 1, bit(2)]);
        let expected = vec![(0x10, vec![2]), (0x20, vec![1]), (0x30, vec![2])];
        assert_eq!(live(&bytes), expected);
    }

    #[test]
    fn maps_must_not_overlap() {
        for second in [1, 2] {
            let words = [2, 0x10, 0x20, 0, second, 64, 1, 1, 0, 0];
            let refused = read(&little_endian(&words)).unwrap_err();
            assert_eq!(refused, RegisterError::MalformedSection, "at {second}");
        }
        assert!(read(&little_endian(&[2, 0x10, 0x20, 0, 3, 64, 1, 1, 0, 0])).is_ok());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let good = section(&[(0x10, &[64, 1, 1]), (0x20, &[64, 2, 1, 0])]);
        assert!(read(&good).is_ok());
        for end in 1..good.len() {
            let refused = read(&good[..end]).unwrap_err();
            assert_eq!(refused, RegisterError::MalformedSection, "{end} bytes");
        }
    }

    #[test]
    fn a_section_that_is_too_large_is_refused() {
        let refused = read(&vec![0; MAX_BYTES]).unwrap_err();
        assert_eq!(refused, RegisterError::MalformedSection);
        assert!(read(&[0; 4]).is_ok(), "no safepoints");
    }

    /// With a map that they share, so that no other check can see the order.
    #[test]
    fn code_offsets_must_rise() {
        let sharing = |offsets: [u32; 3]| {
            let mut words = vec![3];
            words.extend(offsets);
            words.extend([0, 0, 0, 64, 1, 1]);
            read(&little_endian(&words)).map(drop)
        };
        assert_eq!(sharing([0x10, 0x20, 0x30]), Ok(()));
        for offsets in [[0x10, 0x30, 0x20], [0x10, 0x20, 0x20]] {
            assert_eq!(sharing(offsets), Err(RegisterError::MalformedSection));
        }
    }

    #[test]
    fn a_refused_section_changes_nothing() {
        let mut module = read(&[]).unwrap();
        let outside = section(&[(0x10, &[64, 1, 1]), (0x20, &[8, 1, 1 << 31])]);
        let refused = module.stack_map_section(&outside).unwrap_err();
        assert!(matches!(refused, RegisterError::StackMap(_)));
        let huge = section(&[(0x10, &[64, u32::MAX, 1])]);
        let refused = module.stack_map_section(&huge).unwrap_err();
        assert_eq!(refused, RegisterError::MalformedSection);
        let expected = read(&[]).unwrap().finish(0).unwrap();
        assert_eq!(module.finish(0).unwrap(), expected);
    }

    #[test]
    fn the_module_must_match_return_addresses() {
        let mut module = ModuleStackMaps::new(CODE_BYTES, Matching::NearestPreceding);
        for bytes in [section(&[(0x10, &[64, 1, 1])]), vec![]] {
            let refused = module.stack_map_section(&bytes).unwrap_err();
            assert_eq!(refused, RegisterError::NotReturnAddresses);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        arbtest::arbtest(|u| {
            let bytes: Vec<u8> = u.arbitrary()?;
            let _ = read(&bytes).and_then(|module| module.finish(0));
            Ok(())
        });
    }
}
