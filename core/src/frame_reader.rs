//! Reading frames: which live words do they hold, and did the walk get far enough?

use crate::activations_table::VMExternRefActivationsTable;
use crate::entry_set::EntrySet;
use crate::extern_ref::VMExternData;
use crate::layout::WORD;
use crate::registry::{Found, Modules};
use crate::stack_map::StackMap;
use crate::walker::{Frame, StackWalker, WalkEnd};
use core::ops::ControlFlow;
use core::ptr;

/// What one walk found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walked {
    pub(crate) end: WalkEnd,
    pub(crate) frames: usize,
    pub(crate) wasm_frames: usize,
    /// Live words that were not null.
    pub(crate) roots: usize,
    /// Roots of which the visitor said that their mark has changed.
    pub(crate) marks: usize,
    /// Roots that cannot be references of this table, and were not visited.
    pub(crate) untouched: usize,
    /// Whether the walk passed the stack canary.
    pub(crate) covered: bool,
    /// Whether a frame with live references did not tell where they are.
    pub(crate) unreadable: bool,
}

/// Walks, and visits each live word that can be a reference of `table`.
///
/// With `entries` it visits those that are among them. The visitor says
/// whether it has changed the mark of the word's box.
///
/// # Safety
///
/// The contract of [`gc`](crate::gc).
#[inline]
pub(crate) unsafe fn walk_roots<W: StackWalker + ?Sized>(
    modules: &Modules,
    table: &VMExternRefActivationsTable,
    entries: Option<&EntrySet<'_>>,
    walker: &W,
    visit: impl FnMut(usize) -> bool,
) -> Walked {
    let traces = log::log_enabled!(log::Level::Trace);
    let mut reader = FrameReader {
        modules,
        recent: [Site::NOWHERE; RECENT],
        canary: Canary::new(table.stack_canary()),
        examiner: Examiner { traces, entries },
        visit,
        walked: Walked {
            end: WalkEnd::Stopped,
            frames: 0,
            wasm_frames: 0,
            roots: 0,
            marks: 0,
            untouched: 0,
            covered: false,
            unreadable: false,
        },
    };
    let end = walker.walk(&mut |frame| {
        // SAFETY: the caller guarantees that the walker's frames are true and that the maps describe them.
        unsafe { reader.read(frame) };
        ControlFlow::Continue(())
    });
    let covered = reader.canary.covered;
    Walked {
        end,
        covered,
        ..reader.walked
    }
}

/// Return addresses that a walk remembers; a power of two.
///
/// A recursion has few, however deep it is.
const RECENT: usize = 16;

/// What a walk needs to know of a return address.
#[derive(Clone, Copy)]
struct Site<'m> {
    pc: usize,
    /// As the stack map has it.
    frame_words: Option<u32>,
    live: Live<'m>,
}

/// The words that are live at a return address.
#[derive(Clone, Copy)]
enum Live<'m> {
    /// The frame is not one of Wasm.
    NotWasm,
    Nothing,
    /// Some of the first 64 words.
    Few(u64),
    /// The words of a map that is larger, or whose roots are to be examined.
    Many(&'m StackMap),
}

impl<'m> Site<'m> {
    /// No call returns to address 0.
    const NOWHERE: Self = Self {
        pc: 0,
        frame_words: None,
        live: Live::NotWasm,
    };

    fn new(pc: usize, found: Found<'m>, examines: bool) -> Self {
        let (frame_words, live) = match found {
            Found::Other => (None, Live::NotWasm),
            Found::Wasm(None) => (None, Live::Nothing),
            Found::Wasm(Some(map)) => {
                let live = match map.blocks() {
                    [0] => Live::Nothing,
                    &[block] if !examines => Live::Few(block),
                    _ => Live::Many(map),
                };
                (map.frame_words(), live)
            }
        };
        Self {
            pc,
            frame_words,
            live,
        }
    }

    /// The address of word 0 in a frame, if the frame tells enough and it is aligned.
    #[inline]
    fn first_word(&self, frame: Frame) -> Option<usize> {
        let address = match (frame.fp, self.frame_words) {
            (Some(fp), Some(words)) => {
                let bytes = (words as usize).checked_mul(WORD);
                bytes.and_then(|bytes| fp.checked_sub(bytes))
            }
            _ => frame.sp,
        };
        address.filter(|address| address.is_multiple_of(WORD))
    }
}

/// Reads the live words of one frame after the other.
///
/// It is one value, so that a walker that calls it through a pointer passes
/// one pointer, behind which everything lies together.
struct FrameReader<'m, V> {
    modules: &'m Modules,
    /// What return addresses turned out to be, each at its [`place`](Self::place).
    recent: [Site<'m>; RECENT],
    canary: Canary,
    examiner: Examiner<'m>,
    visit: V,
    walked: Walked,
}

impl<'m, V: FnMut(usize) -> bool> FrameReader<'m, V> {
    /// Visits the live words of `frame` that are not null.
    ///
    /// # Safety
    ///
    /// `frame` is a true frame, and the stack map at its `pc` describes it.
    #[inline]
    unsafe fn read(&mut self, frame: Frame) {
        self.walked.frames += 1;
        self.canary.pass(frame);
        let place = Self::place(frame.pc);
        if self.recent[place].pc != frame.pc {
            self.look_up(frame.pc);
        }
        let site = &self.recent[place];
        if matches!(site.live, Live::NotWasm) {
            return;
        }
        self.walked.wasm_frames += 1;
        if !matches!(site.live, Live::Nothing) {
            match site.first_word(frame) {
                // SAFETY: the caller guarantees that the site's map is the frame's.
                Some(start) => unsafe { self.read_words(place, start) },
                None => self.walked.unreadable = true,
            }
        }
    }

    /// Visits the words of a frame that the site at `place` calls live.
    ///
    /// It stays out of line, so that frames without references stay cheap,
    /// and calls nobody on the way that collections take.
    ///
    /// # Safety
    ///
    /// The words that are live, counted from `start`, can be read.
    #[inline(never)]
    unsafe fn read_words(&mut self, place: usize, start: usize) {
        let Live::Few(mut rest) = self.recent[place].live else {
            // SAFETY: the caller guarantees that these words can be read.
            return unsafe { self.examine_words(place, start) };
        };
        // Of two widths, so that no compiler keeps both in one vector register.
        let (mut roots, mut unchanged) = (0_usize, 0_u32);
        while rest != 0 {
            // SAFETY: the caller guarantees that this word can be read.
            let word = unsafe { slot(start, rest).read() };
            if !is_aligned(word) {
                break;
            }
            rest &= rest - 1;
            if word != 0 {
                roots += 1;
                unchanged += u32::from(!(self.visit)(word));
            }
        }
        self.walked.roots += roots;
        self.walked.marks += roots - unchanged as usize;
        if rest != 0 {
            // SAFETY: the caller guarantees that these words can be read.
            unsafe { self.examine(start, rest, self.recent[place].pc) }
        }
    }

    /// Visits the words of a large frame, or of any frame if roots are to be examined.
    ///
    /// # Safety
    ///
    /// As for [`read_words`](Self::read_words).
    #[cold]
    unsafe fn examine_words(&mut self, place: usize, start: usize) {
        let Site { pc, live, .. } = self.recent[place];
        let Live::Many(map) = live else { return };
        for (start, &block) in (start..).step_by(64 * WORD).zip(map.blocks()) {
            // SAFETY: the caller guarantees that these words can be read.
            unsafe { self.examine(start, block, pc) }
        }
    }

    /// Visits those words of `block` that are not null and pass the examination.
    ///
    /// # Safety
    ///
    /// The words of the block that are live, the first of them at `start`, can be read.
    #[cold]
    unsafe fn examine(&mut self, start: usize, block: u64, pc: usize) {
        let mut rest = block;
        while rest != 0 {
            let slot = slot(start, rest);
            rest &= rest - 1;
            // SAFETY: the caller guarantees that this word can be read.
            let word = unsafe { slot.read() };
            if word == 0 {
                continue;
            }
            self.walked.roots += 1;
            if self.examiner.admits(word, slot, pc) {
                self.walked.marks += usize::from((self.visit)(word));
            } else {
                self.walked.untouched += 1;
            }
        }
    }

    #[cold]
    fn look_up(&mut self, pc: usize) {
        self.recent[Self::place(pc)] =
            Site::new(pc, self.modules.find(pc), self.examiner.examines());
    }

    /// Spreads return addresses by the top bits of a product.
    ///
    /// The factor is the golden section of all words, by two Fibonacci numbers.
    #[inline]
    fn place(pc: usize) -> usize {
        const GOLDEN: usize = (usize::MAX / 46_368 * 28_657) | 1;
        pc.wrapping_mul(GOLDEN) >> (usize::BITS - RECENT.trailing_zeros())
    }
}

/// Where the first of the live words is in a block that begins at `start`.
#[inline]
fn slot(start: usize, live: u64) -> *const usize {
    ptr::with_exposed_provenance(start + live.trailing_zeros() as usize * WORD)
}

/// Whether a box can be at that address; null is.
#[inline]
fn is_aligned(word: usize) -> bool {
    word.is_multiple_of(align_of::<VMExternData>())
}

/// Looks at roots before they are touched.
struct Examiner<'e> {
    traces: bool,
    /// The only words that may be touched, if that was asked for.
    entries: Option<&'e EntrySet<'e>>,
}

impl Examiner<'_> {
    fn examines(&self) -> bool {
        self.traces || self.entries.is_some()
    }

    /// Whether a root can be the address of a box, as far as can be told.
    fn admits(&self, word: usize, slot: *const usize, pc: usize) -> bool {
        if self.traces {
            log::trace!("externref gc: root {word:#x} at {slot:p}, pc {pc:#x}");
        }
        let admitted =
            is_aligned(word) && self.entries.is_none_or(|entries| entries.contains(word));
        if !admitted {
            log::error!("externref gc: root {word:#x} is not in the activations table");
        }
        admitted
    }
}

/// Finds out whether a walk passes the stack canary.
struct Canary {
    /// `usize::MAX` if none is set: no frame is older than that.
    address: usize,
    /// The frame visited before; `usize::MAX` if there is none.
    younger: usize,
    covered: bool,
}

impl Canary {
    fn new(address: Option<usize>) -> Self {
        Self {
            address: address.unwrap_or(usize::MAX),
            younger: usize::MAX,
            covered: false,
        }
    }

    /// A canary lies between two frames of one stack once both were visited.
    #[inline]
    fn pass(&mut self, frame: Frame) {
        let older = frame.sp.or(frame.fp);
        self.covered |= (self.younger..older.unwrap_or(0)).contains(&self.address);
        self.younger = older.unwrap_or(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sp: usize) -> Frame {
        Frame {
            pc: 1,
            sp: Some(sp),
            fp: None,
        }
    }

    #[test]
    fn the_frame_pointer_comes_first() {
        let first_word = |frame_words, sp, fp| {
            let map = StackMap::new(frame_words, [0]).unwrap();
            let site = Site::new(1, Found::Wasm(Some(&map)), false);
            site.first_word(Frame { pc: 1, sp, fp })
        };
        let (sp, fp) = (Some(1000), Some(2000));
        assert_eq!(first_word(Some(4), sp, fp), Some(2000 - 4 * WORD));
        assert_eq!(first_word(None, sp, fp), Some(1000));
        assert_eq!(first_word(None, None, fp), None);
        assert_eq!(first_word(Some(4), sp, None), Some(1000));
        assert_eq!(first_word(Some(4), sp, Some(3)), None, "below address 0");
        assert_eq!(first_word(Some(4), sp, Some(2001)), None, "misaligned");
    }

    fn covered(canary: Option<usize>, stack_pointers: &[usize]) -> bool {
        let mut state = Canary::new(canary);
        for &sp in stack_pointers {
            state.pass(at(sp));
        }
        state.covered
    }

    #[test]
    fn a_canary_must_lie_between_two_frames() {
        assert!(covered(Some(150), &[100, 200]));
        assert!(covered(Some(100), &[100, 200]));
        assert!(!covered(Some(200), &[100, 200]));
        assert!(!covered(Some(50), &[100, 200]));
        assert!(!covered(Some(250), &[100, 200]));
        assert!(!covered(None, &[100, 200]));
        assert!(!covered(Some(150), &[200, 100]), "another stack begins");
    }
}
