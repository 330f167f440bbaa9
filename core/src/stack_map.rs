//! Which words of a frame hold live references.

use crate::hash;
use crate::layout::WORD_BYTES;
use alloc::vec::Vec;
use core::fmt;

/// The words of one frame that are live references at one safepoint.
///
/// Words are counted from the stack pointer: word 0 is the youngest.
///
/// ```text
///          frame_words = 4, live_words = {0, 2}
///
///  sp --> +--------+--------+--------+--------+ <-- fp
///         | ref    |        | ref    |        |
///         +--------+--------+--------+--------+
///         word 0   word 1   word 2   word 3
/// ```
///
/// A map that names no word beyond the 64th needs no allocation.
///
/// ```
/// use vmexternref_core::StackMap;
///
/// let map = StackMap::new(Some(4), [0, 2])?;
/// assert_eq!(map.live_words().collect::<Vec<_>>(), [0, 2]);
/// # Ok::<(), vmexternref_core::StackMapError>(())
/// ```
#[derive(Clone, Debug)]
pub struct StackMap {
    /// Bytes from word 0 to the frame pointer; [`UNKNOWN`](Self::UNKNOWN) if nobody knows.
    frame_bytes: u32,
    /// Bytes from the first live word to the frame pointer, if that is known.
    reach: u32,
    live: Bits,
}

impl PartialEq for StackMap {
    fn eq(&self, other: &Self) -> bool {
        self.frame_bytes == other.frame_bytes && self.blocks() == other.blocks()
    }
}

impl Eq for StackMap {}

/// A set of small numbers; trailing zero words are never stored.
#[derive(Clone, Debug)]
enum Bits {
    Inline(u64),
    Heap(Vec<u64>),
}

/// Why a stack map was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StackMapError {
    /// A live word lies outside the frame.
    OutsideFrame,
    /// A live word or a frame begins at a part of a word.
    Unaligned,
    /// A live word, or the frame pointer, lies farther from the stack pointer than any frame
    /// reaches.
    TooLarge,
    /// There was no memory for the map.
    OutOfMemory,
}

impl fmt::Display for StackMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutsideFrame => "a live word lies outside its frame",
            Self::Unaligned => "an offset is not a multiple of the word size",
            Self::TooLarge => "a frame is too large, or a live word too far from the stack pointer",
            Self::OutOfMemory => "out of memory",
        })
    }
}

impl core::error::Error for StackMapError {}

/// Words a frame may have at most: 16 Mi.
const MAX_WORDS: u32 = 1 << 24;

impl StackMap {
    /// The size of a frame that is not known.
    pub(crate) const UNKNOWN: u32 = u32::MAX;

    /// Makes a map of `live_words`, counted from the stack pointer.
    ///
    /// `frame_words` is the distance from the stack pointer to the frame
    /// pointer, if the producer knows it. Then a collection finds the words
    /// from the frame pointer, which is right even where a tail call of the
    /// callee has changed the size of its stack arguments.
    ///
    /// # Errors
    ///
    /// A word outside the frame, a frame of 4 GiB, a word beyond the 16 Mi-th, or no memory.
    pub fn new(
        frame_words: Option<u32>,
        live_words: impl IntoIterator<Item = u32>,
    ) -> Result<Self, StackMapError> {
        let frame_bytes = match frame_words {
            Some(words) => words
                .checked_mul(WORD_BYTES)
                .ok_or(StackMapError::TooLarge)?,
            None => Self::UNKNOWN,
        };
        let (mut first, mut rest) = (0_u64, Vec::new());
        let mut lowest = frame_words.unwrap_or(0);
        for word in live_words {
            if frame_words.is_some_and(|frame| word >= frame) {
                return Err(StackMapError::OutsideFrame);
            }
            if word >= MAX_WORDS {
                return Err(StackMapError::TooLarge);
            }
            lowest = lowest.min(word);
            let (index, bit) = ((word / 64) as usize, 1 << (word % 64));
            match index.checked_sub(1) {
                None => first |= bit,
                Some(index) => *entry(&mut rest, index)? |= bit,
            }
        }
        let live = if rest.is_empty() {
            Bits::Inline(first)
        } else {
            rest.try_reserve(1)
                .map_err(|_| StackMapError::OutOfMemory)?;
            rest.insert(0, first);
            Bits::Heap(rest)
        };
        Ok(Self {
            frame_bytes,
            reach: frame_bytes - lowest * WORD_BYTES,
            live,
        })
    }

    /// Makes a map of byte offsets from the stack pointer.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`StackMapError::Unaligned`] where a number
    /// is not a multiple of the host's word size.
    pub fn from_byte_offsets(
        frame_bytes: Option<u32>,
        offsets: impl IntoIterator<Item = u32>,
    ) -> Result<Self, StackMapError> {
        let frame_words = frame_bytes.map(words).transpose()?;
        let mut unaligned = false;
        let live = offsets
            .into_iter()
            .map_while(|offset| words(offset).map_err(|_| unaligned = true).ok());
        let map = Self::new(frame_words, live)?;
        if unaligned {
            return Err(StackMapError::Unaligned);
        }
        Ok(map)
    }

    /// Words between the stack pointer and the frame pointer, where known.
    #[must_use]
    pub fn frame_words(&self) -> Option<u32> {
        (self.frame_bytes != Self::UNKNOWN).then_some(self.frame_bytes / WORD_BYTES)
    }

    /// Bytes from word 0 of the frame to its frame pointer, or [`UNKNOWN`](Self::UNKNOWN).
    #[inline]
    pub(crate) fn frame_bytes(&self) -> u32 {
        self.frame_bytes
    }

    /// Bytes from the first live word to the frame pointer, if that is known.
    #[inline]
    pub(crate) fn reach(&self) -> u32 {
        self.reach
    }

    /// The live words, counted from the stack pointer, in rising order.
    #[inline]
    pub fn live_words(&self) -> impl Iterator<Item = u32> + '_ {
        let blocks = self.blocks().iter().copied();
        (0_u32..).step_by(64).zip(blocks).flat_map(|(base, block)| {
            let mut rest = block;
            core::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(base + bit)
            })
        })
    }

    /// Whether no word is live.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.live, Bits::Inline(0))
    }

    /// A map of a frame of unknown size in which nothing is live.
    pub(crate) const EMPTY: Self = Self {
        frame_bytes: Self::UNKNOWN,
        reach: 0,
        live: Bits::Inline(0),
    };

    /// The place of maps with this content in a table of `2^bits` places.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both halves of a block are taken in"
    )]
    #[inline(never)]
    pub(crate) fn place(&self, bits: u32) -> usize {
        let mut content = self.frame_bytes as usize;
        for &block in self.blocks() {
            // The halves one after the other: where words have 32 bits, one would hide the other.
            for half in [block as u32, (block >> 32) as u32] {
                content = hash::place(content, usize::BITS) ^ half as usize;
            }
        }
        hash::place(content, bits)
    }

    /// The live words as bits, 64 words a block.
    #[inline]
    pub(crate) fn blocks(&self) -> &[u64] {
        match &self.live {
            Bits::Inline(block) => core::slice::from_ref(block),
            Bits::Heap(blocks) => blocks,
        }
    }
}

fn words(bytes: u32) -> Result<u32, StackMapError> {
    if !bytes.is_multiple_of(WORD_BYTES) {
        return Err(StackMapError::Unaligned);
    }
    Ok(bytes / WORD_BYTES)
}

/// The element at `index`, after growing `blocks` so far.
fn entry(blocks: &mut Vec<u64>, index: usize) -> Result<&mut u64, StackMapError> {
    if index >= blocks.len() {
        blocks
            .try_reserve(index + 1 - blocks.len())
            .map_err(|_| StackMapError::OutOfMemory)?;
        blocks.resize(index + 1, 0);
    }
    Ok(&mut blocks[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(map: &StackMap) -> Vec<u32> {
        map.live_words().collect()
    }

    #[test]
    fn live_words_come_back_in_order() {
        let map = StackMap::new(None, [63, 0, 5, 5]).unwrap();
        assert_eq!(words_of(&map), [0, 5, 63]);
        assert!(matches!(map.live, Bits::Inline(_)));
        let far = StackMap::new(Some(1000), [999, 64, 1]).unwrap();
        assert_eq!(words_of(&far), [1, 64, 999]);
        assert!(matches!(far.live, Bits::Heap(_)));
    }

    #[test]
    fn empty_maps_are_empty() {
        assert!(StackMap::new(Some(0), []).unwrap().is_empty());
        assert!(!StackMap::new(None, [64]).unwrap().is_empty());
    }

    #[test]
    fn bad_words_are_errors() {
        assert_eq!(
            StackMap::new(Some(4), [4]),
            Err(StackMapError::OutsideFrame)
        );
        assert_eq!(
            StackMap::new(None, [u32::MAX]),
            Err(StackMapError::TooLarge)
        );
        let most = u32::MAX / WORD_BYTES;
        assert!(StackMap::new(Some(most), [0]).is_ok());
        let larger = StackMap::new(Some(most + 1), [0]);
        assert_eq!(larger, Err(StackMapError::TooLarge));
    }

    #[test]
    fn byte_offsets_are_words_times_the_word_size() {
        let word = WORD_BYTES;
        let map = StackMap::from_byte_offsets(Some(4 * word), [0, 3 * word]).unwrap();
        assert_eq!(map, StackMap::new(Some(4), [0, 3]).unwrap());
        for (frame, offset) in [(Some(4 * word), 1), (Some(1), 0), (None, word + 2)] {
            assert_eq!(
                StackMap::from_byte_offsets(frame, [offset]),
                Err(StackMapError::Unaligned)
            );
        }
    }

    #[test]
    fn equal_maps_compare_equal() {
        let a = StackMap::new(Some(100), [70, 3]).unwrap();
        let b = StackMap::new(Some(100), [3, 70, 3]).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.place(8), b.place(8));
        for other in [
            StackMap::new(None, [70, 3]).unwrap(),
            StackMap::new(Some(100), [70, 4]).unwrap(),
            StackMap::new(Some(100), [3]).unwrap(),
        ] {
            assert_ne!(a, other);
        }
    }
}
