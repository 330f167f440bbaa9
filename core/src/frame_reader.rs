//! Reading frames: which live words do they hold, and did the walk get far enough?

use crate::activations_table::VMExternRefActivationsTable;
use crate::canary::{CanaryChain, Coverage};
use crate::fault::{Fault, Faults, Root};
use crate::hash;
use crate::layout::WORD;
use crate::module_maps::Found;
use crate::ref_count::abort;
use crate::registry::Reading;
use crate::report::GcOutcome;
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
    /// Live words, null ones included.
    pub(crate) words: usize,
    /// Live words that were neither null nor immediates.
    pub(crate) roots: usize,
    /// Roots that the visitor refused.
    pub(crate) faults: Faults,
    /// Whether the walk passed every stack canary, and there was one.
    pub(crate) covered: bool,
    /// The return address of a Wasm frame that is older than every canary.
    pub(crate) outside_canaries: Option<usize>,
    /// Why everything has to be kept, by the oldest frame that is a reason.
    pub(crate) kept: Option<GcOutcome>,
}

impl Walked {
    fn nothing() -> Self {
        Self {
            end: WalkEnd::Complete,
            frames: 0,
            wasm_frames: 0,
            words: 0,
            roots: 0,
            faults: Faults::new(),
            covered: false,
            outside_canaries: None,
            kept: None,
        }
    }

    /// Takes in a frame of which no word is known to be live. Returns 1 if it is not one of Wasm,
    /// else 0.
    ///
    /// It is compiled once for all kinds of walks.
    #[inline(never)]
    fn pass_by(&mut self, live: &Live<'_>, frame: Frame) -> usize {
        let pc = frame.pc;
        match live {
            Live::Outside if frame.compiled => {
                self.kept = Some(GcOutcome::KeptUnregistered { pc });
            }
            Live::Undeclared => self.kept = Some(GcOutcome::KeptUndeclared { pc }),
            _ => {}
        }
        usize::from(matches!(live, Live::Outside | Live::NotWasm))
    }

    /// Visits the words of a frame that has live words beyond the 64th.
    ///
    /// It is compiled once for all kinds of walks.
    ///
    /// # Safety
    ///
    /// `frame` is a true frame, and `map` describes it.
    #[cold]
    #[inline(never)]
    unsafe fn read_large_frame(
        &mut self,
        site: Site<'_>,
        map: &StackMap,
        frame: Frame,
        immediate_bits: usize,
        visit: &mut dyn FnMut(Root) -> Result<(), Fault>,
    ) {
        let blocks = map.blocks().iter();
        self.words += blocks.map(|&block| ones(block) as usize).sum::<usize>();
        let Some(mut start) = site.first_word(frame) else {
            self.kept = Some(GcOutcome::KeptUnreadable { pc: frame.pc });
            return;
        };
        for &block in map.blocks() {
            // SAFETY: the caller guarantees that the words that the map calls live can be read.
            self.roots += unsafe {
                read_block(
                    start,
                    block,
                    frame.pc,
                    immediate_bits,
                    &mut self.faults,
                    visit,
                )
            };
            start = start.wrapping_add(64 * WORD);
        }
    }
}

/// Visits those words of `block` that are not null, and returns the number of roots among them.
///
/// A refused word with one of `immediate_bits` is no root.
///
/// # Safety
///
/// The words of the block that are live, the first of them at `start`, can be read.
#[inline(always)]
unsafe fn read_block<V: FnMut(Root) -> Result<(), Fault> + ?Sized>(
    start: usize,
    block: u64,
    pc: usize,
    immediate_bits: usize,
    faults: &mut Faults,
    visit: &mut V,
) -> usize {
    let (mut rest, mut roots) = (block, 0);
    while rest != 0 {
        let slot = start + rest.trailing_zeros() as usize * WORD;
        rest &= rest - 1;
        // SAFETY: the caller guarantees that this word can be read.
        let word = unsafe { ptr::with_exposed_provenance::<usize>(slot).read() };
        if word == 0 {
            continue;
        }
        roots += 1;
        if let Err(fault) = visit(Root { word, slot, pc }) {
            // Only here, so that no reference pays for immediates.
            if word & immediate_bits != 0 {
                roots -= 1;
            } else {
                faults.push(word, slot, pc, fault);
            }
        }
    }
    roots
}

/// Walks, and visits each live word that is not null.
///
/// The visitor says what is wrong with a root, if anything is. One that it calls misaligned may be
/// an immediate, and is then no root. The walk ends when it has passed every stack canary, unless
/// the table verifies or the walker proves its end. Aborts if the walker unwinds.
///
/// # Safety
///
/// The contract of [`gc`](crate::gc).
#[inline]
pub(crate) unsafe fn walk_roots<W: StackWalker + ?Sized>(
    modules: &Reading<'_>,
    table: &VMExternRefActivationsTable,
    walker: &W,
    visit: impl FnMut(Root) -> Result<(), Fault>,
) -> Walked {
    let no_canaries = CanaryChain::new();
    let canaries = if walker.proves_end() {
        &no_canaries
    } else {
        table.canaries()
    };
    let mut reader = FrameReader {
        modules,
        recent: [Site::NOWHERE; RECENT],
        coverage: Coverage::new(canaries),
        ends_at_canaries: !table.verifies(),
        immediate_bits: table.immediate_bits(),
        visit,
        other_frames: 0,
        walked: Walked::nothing(),
    };
    let abort_on_unwind = AbortOnUnwind;
    let end = walker.walk(&mut |frame| {
        // SAFETY: the caller guarantees that the walker's frames are true and that the maps
        // describe them.
        unsafe { reader.read(frame) }
    });
    core::mem::forget(abort_on_unwind);
    Walked {
        end,
        wasm_frames: reader.walked.frames - reader.other_frames,
        covered: reader.coverage.is_whole(),
        ..reader.walked
    }
}

/// Walks as [`walk_roots`] does, compiled once for all walks that are rare.
///
/// # Safety
///
/// The contract of [`gc`](crate::gc).
#[inline(never)]
pub(crate) unsafe fn walk_roots_rarely(
    modules: &Reading<'_>,
    table: &VMExternRefActivationsTable,
    walker: &dyn StackWalker,
    visit: &mut dyn FnMut(Root) -> Result<(), Fault>,
) -> Walked {
    // SAFETY: the caller keeps the contract.
    unsafe { walk_roots(modules, table, walker, visit) }
}

/// Aborts when it is dropped: marks are set, and nobody would take them off.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        abort("a stack walker unwound out of a walk");
    }
}

/// Return addresses that a walk remembers; a power of two.
///
/// A recursion has few, however deep it is.
const RECENT: usize = 16;

/// What a walk needs to know of a return address.
#[derive(Clone, Copy)]
pub(crate) struct Site<'m> {
    pc: usize,
    /// As the stack map has it.
    frame_words: Option<u32>,
    live: Live<'m>,
}

/// The words that are live at a return address.
#[derive(Clone, Copy)]
enum Live<'m> {
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
    /// No call returns to address 0.
    const NOWHERE: Self = Self {
        pc: 0,
        frame_words: None,
        live: Live::Outside,
    };

    /// Asks the registry. It is compiled once for all readers of frames.
    #[inline(never)]
    fn look_up(&mut self, pc: usize, modules: &'m Reading<'_>) {
        *self = Self::new(pc, modules.find(pc));
    }

    #[inline]
    pub(crate) fn new(pc: usize, found: Found<'m>) -> Self {
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
            pc,
            frame_words: map.and_then(StackMap::frame_words),
            live,
        }
    }

    /// The address of word 0 in a frame, if the frame tells enough and it is aligned.
    #[inline]
    pub(crate) fn first_word(&self, frame: Frame) -> Option<usize> {
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

/// The number of bits that are 1, in little code where the processor does not count them.
#[inline(never)]
fn ones(block: u64) -> u32 {
    let (mut rest, mut ones) = (block, 0);
    while rest != 0 {
        rest &= rest - 1;
        ones += 1;
    }
    ones
}

/// Reads the live words of one frame after the other.
///
/// It is one value, so that a walker that calls it through a pointer passes one pointer, behind
/// which everything lies together.
struct FrameReader<'m, V> {
    modules: &'m Reading<'m>,
    /// What return addresses turned out to be, each at its [`place`](Self::place).
    recent: [Site<'m>; RECENT],
    coverage: Coverage<'m>,
    ends_at_canaries: bool,
    /// A misaligned word with one of these bits is no reference.
    immediate_bits: usize,
    visit: V,
    /// Frames that are not Wasm's. The others, which a walk has most of, are not counted twice.
    other_frames: usize,
    walked: Walked,
}

impl<V: FnMut(Root) -> Result<(), Fault>> FrameReader<'_, V> {
    /// Takes in the next frame of the walk, and visits its live words that are not null.
    ///
    /// It is small, so that it becomes part of a walker's loop: what most frames do not need is
    /// out of line.
    ///
    /// # Safety
    ///
    /// `frame` is a true frame, and the stack map at its `pc` describes it.
    #[inline]
    unsafe fn read(&mut self, frame: Frame) -> ControlFlow<()> {
        if !self.coverage.pass(frame.sp.or(frame.fp)) {
            // SAFETY: the caller guarantees a true frame and its map.
            return unsafe { self.read_at_canary(frame) };
        }
        let place = Self::place(frame.pc);
        let site = &self.recent[place];
        if site.pc == frame.pc && matches!(site.live, Live::Nothing) {
            self.walked.frames += 1;
        } else {
            // SAFETY: the caller guarantees a true frame and its map.
            unsafe { self.read_frame(place, frame) }
        }
        ControlFlow::Continue(())
    }

    /// Takes in a frame that lies next to no other one, or has passed canaries.
    ///
    /// # Safety
    ///
    /// As for [`read`](Self::read).
    #[cold]
    unsafe fn read_at_canary(&mut self, frame: Frame) -> ControlFlow<()> {
        self.coverage
            .pass_canaries(frame.sp.or(frame.fp), frame.new_stack);
        if self.coverage.is_whole() && self.ends_at_canaries {
            return ControlFlow::Break(());
        }
        let before = self.other_frames;
        // SAFETY: the caller guarantees a true frame and its map.
        unsafe { self.read_frame(Self::place(frame.pc), frame) };
        if self.coverage.is_whole() && self.other_frames == before {
            self.walked.outside_canaries = Some(frame.pc);
        }
        ControlFlow::Continue(())
    }

    /// Visits the live words of `frame` that are not null. What is known of its `pc` is at `place`.
    ///
    /// # Safety
    ///
    /// As for [`read`](Self::read).
    #[inline(never)]
    unsafe fn read_frame(&mut self, place: usize, frame: Frame) {
        self.walked.frames += 1;
        if self.recent[place].pc != frame.pc {
            self.recent[place].look_up(frame.pc, self.modules);
        }
        let site = &self.recent[place];
        match site.live {
            Live::Few(block, words) => {
                self.walked.words += words as usize;
                match site.first_word(frame) {
                    // SAFETY: the caller guarantees that the words that the site's map calls live
                    // can be read.
                    Some(start) => unsafe {
                        self.walked.roots += read_block(
                            start,
                            block,
                            frame.pc,
                            self.immediate_bits,
                            &mut self.walked.faults,
                            &mut self.visit,
                        );
                    },
                    None => self.walked.kept = Some(GcOutcome::KeptUnreadable { pc: frame.pc }),
                }
            }
            // SAFETY: the caller guarantees a true frame, which the map describes.
            Live::Many(map) => unsafe {
                let visit = &mut self.visit;
                self.walked
                    .read_large_frame(*site, map, frame, self.immediate_bits, visit);
            },
            Live::Nothing => {}
            ref live => self.other_frames += self.walked.pass_by(live, frame),
        }
    }

    #[inline]
    fn place(pc: usize) -> usize {
        hash::place(pc, RECENT.trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_pointer_comes_first() {
        let first_word = |frame_words, sp, fp| {
            let map = StackMap::new(frame_words, [0]).unwrap();
            let site = Site::new(1, Found::Wasm(Some(&map)));
            site.first_word(Frame::of_unknown_code(1, sp, fp))
        };
        let (sp, fp) = (Some(1000), Some(2000));
        assert_eq!(first_word(Some(4), sp, fp), Some(2000 - 4 * WORD));
        assert_eq!(first_word(None, sp, fp), Some(1000));
        assert_eq!(first_word(None, None, fp), None);
        assert_eq!(first_word(Some(4), sp, None), Some(1000));
        assert_eq!(first_word(Some(4), sp, Some(3)), None, "below address 0");
        assert_eq!(first_word(Some(4), sp, Some(2001)), None, "misaligned");
    }
}
