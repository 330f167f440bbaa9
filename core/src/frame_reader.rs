//! Reading frames: which live words do they hold, and did the walk get far enough?

use crate::activations_table::VMExternRefActivationsTable;
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
    /// Roots that cannot be references of this table, and were not touched.
    pub(crate) untouched: usize,
    /// Whether the walk passed the stack canary.
    pub(crate) covered: bool,
    /// Whether a frame with live references did not tell where they are.
    pub(crate) unreadable: bool,
}

/// Walks, and visits each live word that is not null.
///
/// The visitor says whether it has changed the mark of the word's box.
///
/// # Safety
///
/// The contract of [`gc`](crate::gc).
#[inline]
pub(crate) unsafe fn walk_roots<W: StackWalker + ?Sized>(
    modules: &Modules,
    table: &VMExternRefActivationsTable,
    walker: &W,
    visit: impl FnMut(usize) -> bool,
) -> Walked {
    let mut reader = FrameReader {
        modules,
        recent: [(0, Found::Other); RECENT],
        canary: Canary::new(table.stack_canary()),
        traces: log::log_enabled!(log::Level::Trace),
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

/// Reads the live words of one frame after the other.
///
/// It is one value, so that a walker that calls it through a pointer passes
/// one pointer, behind which everything lies together.
struct FrameReader<'m, V> {
    modules: &'m Modules,
    /// What return addresses turned out to be, each at its [`place`](Self::place).
    recent: [(usize, Found<'m>); RECENT],
    canary: Canary,
    traces: bool,
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
        let Found::Wasm(map) = self.find(frame.pc) else {
            return;
        };
        self.walked.wasm_frames += 1;
        if let Some(map) = map {
            // SAFETY: the caller guarantees that the map is the frame's.
            unsafe { self.read_words(map, map.first_word(frame), frame.pc) }
        }
    }

    /// Visits the words that `map` calls live, the first word of the frame being at `start`.
    ///
    /// It stays out of line, so that frames without references stay cheap.
    ///
    /// # Safety
    ///
    /// `map` describes the frame at `start`.
    #[inline(never)]
    unsafe fn read_words(&mut self, map: &StackMap, start: Option<usize>, pc: usize) {
        let Some(start) = start.filter(|at| at % WORD == 0) else {
            self.walked.unreadable |= !map.is_empty();
            return;
        };
        match map.blocks() {
            // SAFETY: the caller guarantees that these words are in the frame.
            [block] => unsafe { self.read_block(start, *block, pc) },
            // SAFETY: the caller guarantees that these words are in the frame.
            blocks => unsafe { self.read_blocks(start, blocks, pc) },
        }
    }

    /// Visits the words of a large frame.
    ///
    /// # Safety
    ///
    /// The words that are live can be read.
    #[cold]
    unsafe fn read_blocks(&mut self, start: usize, blocks: &[u64], pc: usize) {
        for (start, &block) in (start..).step_by(64 * WORD).zip(blocks) {
            // SAFETY: the caller guarantees that these words can be read.
            unsafe { self.read_block(start, block, pc) }
        }
    }

    /// Visits the words of `block` that are not null, the first of them at `start`.
    ///
    /// # Safety
    ///
    /// The words of the block that are live can be read.
    #[inline(always)]
    unsafe fn read_block(&mut self, start: usize, block: u64, pc: usize) {
        // Of two widths, so that no compiler keeps both in one vector register.
        let (mut rest, mut roots, mut marks) = (block, 0_usize, 0_u32);
        while rest != 0 {
            let offset = rest.trailing_zeros() as usize * WORD;
            rest &= rest - 1;
            let slot = ptr::with_exposed_provenance::<usize>(start + offset);
            // SAFETY: the caller guarantees that this word can be read.
            let word = unsafe { slot.read() };
            if word == 0 {
                continue;
            }
            if self.traces {
                trace_root(word, slot, pc);
            }
            roots += 1;
            marks += u32::from((self.visit)(word));
        }
        self.walked.roots += roots;
        self.walked.marks += marks as usize;
    }

    #[inline]
    fn find(&mut self, pc: usize) -> Found<'m> {
        let recent = self.recent[Self::place(pc)];
        if recent.0 == pc {
            return recent.1;
        }
        self.look_up(pc)
    }

    #[cold]
    fn look_up(&mut self, pc: usize) -> Found<'m> {
        let found = self.modules.find(pc);
        self.recent[Self::place(pc)] = (pc, found);
        found
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

#[cold]
fn trace_root(word: usize, slot: *const usize, pc: usize) {
    log::trace!("externref gc: root {word:#x} at {slot:p}, pc {pc:#x}");
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
