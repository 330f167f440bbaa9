//! Return addresses: which words of a frame are live there?

use crate::hash;
use crate::layout::WORD;
use crate::module_maps::Found;
use crate::registry::Reading;
use crate::stack_map::StackMap;
use core::mem::MaybeUninit;

/// What a walk needs to know of a return address.
#[derive(Clone, Copy)]
pub(crate) struct Site<'m> {
    /// As the stack map has them.
    frame_bytes: u32,
    reach: u32,
    live: Live<'m>,
}

/// The words that are live at a return address.
#[derive(Clone, Copy)]
pub(crate) enum Live<'m> {
    /// The frame lies in no registered module.
    Outside,
    /// The frame is one of a trampoline, or of other code without references.
    NotWasm,
    /// The frame is one of Wasm, at a call that its module did not declare.
    Undeclared,
    Nothing,
    /// Some of the first 64 words, and how many.
    Few(u64, u32),
    /// The words of a map that is larger.
    Many(&'m StackMap),
}

impl<'m> Site<'m> {
    #[inline]
    pub(crate) fn new(found: Found<'m>) -> Self {
        let (map, live) = match found {
            Found::Outside => (None, Live::Outside),
            Found::Code => (None, Live::NotWasm),
            Found::Undeclared => (None, Live::Undeclared),
            Found::Wasm(None) => (None, Live::Nothing),
            Found::Wasm(Some(map)) => match map.blocks() {
                [0] => (Some(map), Live::Nothing),
                &[block] => (Some(map), Live::Few(block, ones(block))),
                _ => (Some(map), Live::Many(map)),
            },
        };
        Self {
            frame_bytes: map.map_or(StackMap::UNKNOWN, StackMap::frame_bytes),
            reach: map.map_or(0, StackMap::reach),
            live,
        }
    }

    /// Whether the frame is one of Wasm in which nothing is live.
    #[inline]
    pub(crate) fn holds_nothing(&self) -> bool {
        matches!(self.live, Live::Nothing)
    }

    #[inline]
    pub(crate) fn live(&self) -> &Live<'m> {
        &self.live
    }

    /// The address of word 0 in a frame, if the frame tells enough, it is aligned, and no live word
    /// is below `sp`.
    ///
    /// Nothing of a frame is below its `sp`, so such a word shows that the stack map is one of a
    /// larger frame. Word 0 may be: a tail call of the callee to a function with fewer stack
    /// arguments raises `sp`, but past no word that is live.
    ///
    /// An `sp` that is not known is 0, where no frame is.
    #[inline]
    pub(crate) fn first_word(&self, sp: usize, fp: Option<usize>) -> Option<usize> {
        let address = match fp {
            Some(fp) if self.frame_bytes != StackMap::UNKNOWN => {
                let first_live = fp.wrapping_sub(self.reach as usize);
                let address = fp.checked_sub(self.frame_bytes as usize);
                address.filter(|_| sp <= first_live)
            }
            _ => (sp != 0).then_some(sp),
        };
        address.filter(|address| address.is_multiple_of(WORD))
    }
}

/// The number of bits that are 1, in little code where the processor does not count them.
#[inline(never)]
pub(crate) fn ones(block: u64) -> u32 {
    let (mut rest, mut ones) = (block, 0);
    while rest != 0 {
        rest &= rest - 1;
        ones += 1;
    }
    ones
}

/// Return addresses that a walk remembers; a power of two.
///
/// A recursion has few, however deep it is.
const RECENT: usize = 16;

/// Where [`RecentSites`] remember a return address.
#[derive(Clone, Copy)]
pub(crate) struct Remembered(usize);

/// What the return addresses that a walk met last turned out to be.
///
/// Each has one place, which it shares with others. An empty place has an address that belongs to
/// another place: 0, or 1 in the place of 0. Its site is not initialised, for each walk would pay.
pub(crate) struct RecentSites<'m> {
    pcs: [usize; RECENT],
    sites: [MaybeUninit<Site<'m>>; RECENT],
}

impl<'m> RecentSites<'m> {
    #[inline]
    pub(crate) fn new() -> Self {
        let mut pcs = [0; RECENT];
        pcs[Self::place(0)] = 1;
        const { assert!(Self::place(0) != Self::place(1)) };
        Self {
            pcs,
            sites: [const { MaybeUninit::uninit() }; RECENT],
        }
    }

    /// Where the return address `pc` is remembered, if it is.
    #[inline]
    pub(crate) fn find(&self, pc: usize) -> Option<Remembered> {
        let place = Self::place(pc);
        (self.pcs[place] == pc).then_some(Remembered(place))
    }

    /// A return address that is remembered, and what it is.
    ///
    /// # Safety
    ///
    /// [`find`](Self::find) or [`look_up`](Self::look_up) of this value returned `place`.
    #[inline]
    pub(crate) unsafe fn get(&self, Remembered(place): Remembered) -> (usize, &Site<'m>) {
        // SAFETY: the caller guarantees a place that `look_up` has filled, which is below `RECENT`.
        unsafe {
            let site = self.sites.get_unchecked(place).assume_init_ref();
            (*self.pcs.get_unchecked(place), site)
        }
    }

    /// Asks the registry what the return address `pc` is, and remembers it.
    ///
    /// It is compiled once for all readers of frames.
    #[inline(never)]
    pub(crate) fn look_up(&mut self, pc: usize, modules: &'m Reading<'_>) -> Remembered {
        let (place, found) = (Self::place(pc), modules.find(pc));
        self.sites[place].write(Site::new(found));
        self.pcs[place] = pc;
        Remembered(place)
    }

    #[inline]
    const fn place(pc: usize) -> usize {
        hash::place(pc, RECENT.trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Word 0 of a frame whose stack map has one live word, if that is usable.
    fn first_word(
        frame_words: Option<u32>,
        live: u32,
        sp: Option<usize>,
        fp: Option<usize>,
    ) -> Option<usize> {
        let map = StackMap::new(frame_words, [live]).unwrap();
        let site = Site::new(Found::Wasm(Some(&map)));
        site.first_word(sp.unwrap_or(0), fp)
    }

    #[test]
    fn the_frame_pointer_comes_first() {
        let (sp, fp) = (Some(1000), Some(2000));
        assert_eq!(first_word(Some(4), 0, sp, fp), Some(2000 - 4 * WORD));
        assert_eq!(first_word(None, 0, sp, fp), Some(1000));
        assert_eq!(first_word(None, 0, None, fp), None);
        assert_eq!(first_word(Some(4), 0, None, fp), Some(2000 - 4 * WORD));
        assert_eq!(first_word(Some(4), 0, sp, None), Some(1000));
        let low = first_word(Some(4), 0, None, Some(3));
        assert_eq!(low, None, "below address 0");
        assert_eq!(first_word(Some(4), 0, sp, Some(2001)), None, "misaligned");
    }

    /// Defect: a stack map of a larger frame was read below the frame, where null words or stale
    /// references are, and what the frame held was freed.
    #[test]
    fn no_live_word_is_below_the_stack_pointer() {
        let fp = Some(2000);
        let sp = |words: usize| Some(2000 - words * WORD);
        let word_0 = Some(2000 - 6 * WORD);
        assert_eq!(first_word(Some(6), 2, sp(6), fp), word_0);
        assert_eq!(first_word(Some(6), 2, sp(4), fp), word_0, "arguments went");
        assert_eq!(first_word(Some(6), 2, sp(9), fp), word_0, "arguments came");
        assert_eq!(first_word(Some(6), 2, sp(3), fp), None);
        assert_eq!(first_word(Some(6), 1, sp(4), fp), None);
        assert_eq!(first_word(Some(6), 5, Some(2000), fp), None);
        assert_eq!(first_word(Some(6), 5, Some(3000), fp), None);
    }
}
