//! Reading frames: which live words do they hold, and did the walk get far enough?

use crate::activations_table::VMExternRefActivationsTable;
use crate::canary::{CanaryChain, Coverage};
use crate::fault::{Fault, Faults, Root};
use crate::layout::WORD;
use crate::ref_count::abort;
use crate::registry::Reading;
use crate::report::GcOutcome;
use crate::site::{Live, RecentSites, Remembered, ones};
use crate::stack_map::StackMap;
use crate::walker::{Frame, StackWalker, WalkEnd};
use core::ops::ControlFlow;
use core::ptr;

/// Whether the mark of a root is a new one, or what is wrong with the root.
pub(crate) type Visited = Result<bool, Fault>;

/// What one walk found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walked {
    pub(crate) end: WalkEnd,
    pub(crate) frames: usize,
    /// Frames that are not Wasm's. The others, which a walk has most of, are not counted twice.
    other_frames: usize,
    /// Live words, null ones included.
    pub(crate) words: usize,
    /// Live words that were neither null nor immediates.
    pub(crate) roots: usize,
    /// Roots whose mark the visitor called new.
    pub(crate) marks: usize,
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
            other_frames: 0,
            words: 0,
            roots: 0,
            marks: 0,
            covered: false,
            outside_canaries: None,
            kept: None,
        }
    }

    pub(crate) fn wasm_frames(&self) -> usize {
        self.frames - self.other_frames
    }

    /// Takes in a frame of which no word is known to be live.
    ///
    /// It is compiled once for all kinds of walks.
    #[cold]
    #[inline(never)]
    fn pass_by(&mut self, live: &Live<'_>, pc: usize, compiled: bool) {
        match live {
            Live::Outside if compiled => {
                self.kept = Some(GcOutcome::KeptUnregistered { pc });
            }
            Live::Undeclared => self.kept = Some(GcOutcome::KeptUndeclared { pc }),
            _ => {}
        }
        self.other_frames += usize::from(matches!(live, Live::Outside | Live::NotWasm));
    }

    /// Visits the words of a frame that has live words beyond the 64th.
    ///
    /// It is compiled once for all kinds of walks.
    ///
    /// # Safety
    ///
    /// The frame is a true one, `map` describes it, and word 0 is at `first_word`.
    #[cold]
    #[inline(never)]
    unsafe fn read_large_frame(
        &mut self,
        map: &StackMap,
        first_word: Option<usize>,
        pc: usize,
        faults: &mut Faults,
        visit: &mut dyn FnMut(Root) -> Visited,
    ) {
        let blocks = map.blocks().iter();
        self.words += blocks.map(|&block| ones(block) as usize).sum::<usize>();
        let Some(mut start) = first_word else {
            self.kept = Some(GcOutcome::KeptUnreadable { pc });
            return;
        };
        for &block in map.blocks() {
            // SAFETY: the caller guarantees that the words that the map calls live can be read.
            unsafe { self.read_block(start, block, pc, faults, visit) }
            start = start.wrapping_add(64 * WORD);
        }
    }

    /// Visits those words of `block` that are not null.
    ///
    /// It is compiled once for all kinds of walks.
    ///
    /// # Safety
    ///
    /// The words of the block that are live, the first of them at `start`, can be read.
    #[cold]
    #[inline(never)]
    unsafe fn read_block(
        &mut self,
        start: usize,
        block: u64,
        pc: usize,
        faults: &mut Faults,
        visit: &mut dyn FnMut(Root) -> Visited,
    ) {
        let mut rest = block;
        while rest != 0 {
            let slot = start + rest.trailing_zeros() as usize * WORD;
            rest &= rest - 1;
            // SAFETY: the caller guarantees that this word can be read.
            let word = unsafe { ptr::with_exposed_provenance::<usize>(slot).read() };
            if word == 0 {
                continue;
            }
            let root = Root { word, slot, pc };
            self.roots += match visit(root) {
                Ok(marked) => {
                    self.marks += usize::from(marked);
                    1
                }
                Err(fault) => usize::from(faults.take_in(root, fault)),
            };
        }
    }
}

/// Walks, and visits each live word that is not null.
///
/// The visitor says what is wrong with a root, if anything is, and `faults` takes it in. It may see
/// such a root twice. The walk ends when it has passed every stack canary, unless the table
/// verifies or the walker proves its end. Aborts if the walker unwinds.
///
/// # Safety
///
/// The contract of [`gc`](crate::gc).
#[inline]
pub(crate) unsafe fn walk_roots<W: StackWalker + ?Sized, const OFTEN: bool>(
    modules: &Reading<'_>,
    table: &VMExternRefActivationsTable,
    walker: &W,
    faults: &mut Faults,
    visit: impl FnMut(Root) -> Visited,
) -> Walked {
    let no_canaries = CanaryChain::new();
    let canaries = if walker.proves_end() {
        &no_canaries
    } else {
        table.canaries()
    };
    let mut reader = FrameReader::<_, OFTEN> {
        modules,
        recent: RecentSites::new(),
        coverage: Coverage::new(canaries),
        ends_at_canaries: !table.verifies(),
        faults,
        visit,
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
    faults: &mut Faults,
    visit: &mut dyn FnMut(Root) -> Visited,
) -> Walked {
    // SAFETY: the caller keeps the contract.
    unsafe { walk_roots::<_, false>(modules, table, walker, faults, visit) }
}

/// Aborts when it is dropped: marks are set, and nobody would take them off.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        abort("a stack walker unwound out of a walk");
    }
}

/// Reads the live words of one frame after the other.
///
/// It is one value, so that a walker that calls it through a pointer passes one pointer, behind
/// which everything lies together.
///
/// With `OFTEN`, reading the words of a frame is compiled for the visitor.
struct FrameReader<'m, V, const OFTEN: bool> {
    modules: &'m Reading<'m>,
    recent: RecentSites<'m>,
    coverage: Coverage<'m>,
    ends_at_canaries: bool,
    /// Roots that the visitor refused.
    faults: &'m mut Faults,
    visit: V,
    walked: Walked,
}

impl<V: FnMut(Root) -> Visited, const OFTEN: bool> FrameReader<'_, V, OFTEN> {
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
        // Not passed on as a whole, so that it stays in registers.
        let Frame {
            pc,
            sp,
            fp,
            compiled,
            new_stack,
        } = frame;
        let place = sp.or(fp);
        // An address that is not known is that of no frame.
        let sp = sp.unwrap_or(0);
        if !self.coverage.pass(place) {
            // SAFETY: the caller guarantees a true frame and its map.
            return unsafe { self.read_at_canary(pc, place, sp, fp, compiled, new_stack) };
        }
        match self.recent.find(pc) {
            // SAFETY: `find` of the same value returned it.
            Some(known) if unsafe { self.recent.get(known) }.1.holds_nothing() => {
                self.walked.frames += 1;
            }
            // SAFETY: the caller guarantees a true frame and its map.
            Some(known) => unsafe { self.read_frame(known, sp, fp, compiled) },
            // SAFETY: as above.
            None => unsafe { self.read_new_frame(pc, sp, fp, compiled) },
        }
        ControlFlow::Continue(())
    }

    /// Takes in a frame that lies next to no other one, or has passed canaries.
    ///
    /// # Safety
    ///
    /// As for [`read`](Self::read).
    #[cold]
    #[inline(never)]
    unsafe fn read_at_canary(
        &mut self,
        pc: usize,
        place: Option<usize>,
        sp: usize,
        fp: Option<usize>,
        compiled: bool,
        new_stack: bool,
    ) -> ControlFlow<()> {
        self.coverage.pass_canaries(place, new_stack);
        if self.coverage.is_whole() && self.ends_at_canaries {
            return ControlFlow::Break(());
        }
        let before = self.walked.other_frames;
        // Little code: such frames are few, or the table verifies.
        // SAFETY: the caller guarantees a true frame and its map.
        unsafe { self.read_new_frame(pc, sp, fp, compiled) };
        if self.coverage.is_whole() && self.walked.other_frames == before {
            self.walked.outside_canaries = Some(pc);
        }
        ControlFlow::Continue(())
    }

    /// Visits the live words of a frame that are not null.
    ///
    /// It takes what it needs of the frame in registers.
    ///
    /// # Safety
    ///
    /// As for [`read`](Self::read). `known` is where the same value
    /// remembers the frame's return address.
    #[inline(never)]
    unsafe fn read_frame(
        &mut self,
        known: Remembered,
        sp: usize,
        fp: Option<usize>,
        compiled: bool,
    ) {
        // SAFETY: the caller guarantees that it is from the same value.
        let (pc, site) = unsafe { self.recent.get(known) };
        self.walked.frames += 1;
        let first_word = site.first_word(sp, fp);
        match *site.live() {
            Live::Few(block, words) => {
                self.walked.words += words as usize;
                match first_word {
                    // SAFETY: the caller guarantees that the words that the site's map calls live
                    // can be read.
                    Some(start) => unsafe { self.read_few(start, block, pc) },
                    None => self.walked.kept = Some(GcOutcome::KeptUnreadable { pc }),
                }
            }
            // SAFETY: the caller guarantees a true frame, which the map describes.
            Live::Many(map) => unsafe {
                let (faults, visit) = (&mut *self.faults, &mut self.visit);
                self.walked
                    .read_large_frame(map, first_word, pc, faults, visit);
            },
            Live::Nothing => {}
            ref live => self.walked.pass_by(live, pc, compiled),
        }
    }

    /// Asks the registry for a frame's return address first, even if it is remembered.
    ///
    /// # Safety
    ///
    /// As for [`read`](Self::read).
    #[cold]
    #[inline(never)]
    unsafe fn read_new_frame(&mut self, pc: usize, sp: usize, fp: Option<usize>, compiled: bool) {
        let known = self.recent.look_up(pc, self.modules);
        // SAFETY: `look_up` of the same value returned it.
        if unsafe { self.recent.get(known) }.1.holds_nothing() {
            self.walked.frames += 1;
            return;
        }
        // SAFETY: the caller keeps the contract.
        unsafe { self.read_frame(known, sp, fp, compiled) }
    }

    /// Visits those words of `block` that are not null.
    ///
    /// # Safety
    ///
    /// The words of the block that are live, the first of them at `start`, can be read.
    #[inline(always)]
    unsafe fn read_few(&mut self, start: usize, block: u64, pc: usize) {
        // Added up in registers: the next root would wait for a sum in memory.
        let (mut rest, mut roots, mut old_marks) = (block, 0, 0);
        while OFTEN && rest != 0 {
            let slot = start + rest.trailing_zeros() as usize * WORD;
            // SAFETY: the caller guarantees that this word can be read.
            let word = unsafe { ptr::with_exposed_provenance::<usize>(slot).read() };
            if word != 0 {
                let Ok(marked) = (self.visit)(Root { word, slot, pc }) else {
                    break;
                };
                roots += 1;
                if !marked {
                    old_marks += 1;
                }
            }
            rest &= rest - 1;
        }
        self.walked.roots += roots;
        self.walked.marks += roots - old_marks;
        if rest != 0 {
            let (faults, visit) = (&mut *self.faults, &mut self.visit);
            // SAFETY: the caller guarantees that these words can be read.
            unsafe { self.walked.read_block(start, rest, pc, faults, visit) };
        }
    }
}
