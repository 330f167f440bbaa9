//! A walker that compares two walkers.

use crate::recorded::RecordedWalker;
use crate::registry::StackMapRegistry;
use crate::walker::{Frame, StackWalker, WalkEnd};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::ops::ControlFlow;

/// Walks with two walkers, and stops where they disagree about Wasm.
///
/// It visits what the first walker visits and ends as the first one ends. A frame that either
/// walker calls [compiled](Frame::compiled) is shown as compiled, so that a collection notices one
/// in no registered module, whichever walker knows.
///
/// If the frames of Wasm functions are not the same in both, it visits nothing and ends with
/// [`WalkEnd::Stopped`]: a collection keeps everything, and its report ends with this reason. So
/// it does if only the second walker shows a frame that it calls compiled, in no registered
/// module. Two frames are the same if their `pc` is, and their `sp` and `fp` where both walkers
/// know them.
///
/// It allocates, and logs a difference, before it visits the first frame. A collection may walk
/// more than once; a difference that equals the last one is not logged again.
///
/// ```
/// use vmexternref_core::*;
///
/// let registry = StackMapRegistry::new();
/// let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
/// module.function(0..0x100)?;
/// registry.register(0x1000, module)?;
///
/// // Two accounts of one stack. The second has lost a frame.
/// let frames = [(0x1010, 0x8000), (0x1020, 0x8040)]
///     .map(|(pc, sp)| Frame::of_compiled_code(pc, Some(sp), None));
/// let walker = |frames: &[Frame]| {
///     // SAFETY: these frames hold no references, and nothing is read there.
///     unsafe { RecordedWalker::new(frames.to_vec(), WalkEnd::Complete) }
/// };
/// let both = ComparingWalker::new(&registry, walker(&frames), walker(&frames[..1]));
/// let table = VMExternRefActivationsTable::new();
/// // SAFETY: the stack maps are right.
/// let report = unsafe { gc(&registry, &table, &both) };
/// assert_eq!(report.outcome, GcOutcome::KeptStopped);
/// let difference = &both.take_differences()[0];
/// assert_eq!((difference.index, difference.second), (1, None));
/// assert_eq!(
///     difference.to_string(),
///     "Wasm frame 1: the first walker has pc 0x1020 sp 0x8040 fp unknown, the second has none"
/// );
/// # Ok::<(), RegisterError>(())
/// ```
#[derive(Debug)]
pub struct ComparingWalker<'r, A, B> {
    registry: &'r StackMapRegistry,
    first: A,
    second: B,
    differences: RefCell<Vec<Difference>>,
    /// Frames of no Wasm function that the second walker called compiled, at the last walk.
    ///
    /// They are kept here because a walk may not free memory after its first visit.
    compiled: RefCell<Vec<Frame>>,
}

/// Where two walkers disagreed: the frame of the first and that of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Wasm frames before it, on which both agreed: the youngest frame has index 0.
    pub index: usize,
    /// What the first walker visited, or `None` if it had ended.
    pub first: Option<Frame>,
    /// What the second walker visited, or `None` if it had ended.
    pub second: Option<Frame>,
}

impl<'r, A: StackWalker, B: StackWalker> ComparingWalker<'r, A, B> {
    /// Compares `first` and `second` in frames that `registry` knows as Wasm.
    #[must_use]
    pub fn new(registry: &'r StackMapRegistry, first: A, second: B) -> Self {
        Self {
            registry,
            first,
            second,
            differences: RefCell::new(Vec::new()),
            compiled: RefCell::new(Vec::new()),
        }
    }

    /// Takes the differences seen so far, each once.
    pub fn take_differences(&self) -> Vec<Difference> {
        self.differences.take()
    }

    /// Whether both walkers have to show this frame: it is one of Wasm, or one in no registered
    /// module that the second calls compiled.
    fn is_compared(&self, frame: Frame) -> bool {
        self.registry.is_wasm(frame.pc)
            || self.second_compiled(frame) && !self.registry.is_code(frame.pc)
    }

    /// Whether the second walker called this frame, which is no Wasm function's, compiled.
    fn second_compiled(&self, frame: Frame) -> bool {
        let compiled = self.compiled.borrow();
        compiled.iter().any(|&other| same_frame(frame, other))
    }

    /// Logs a difference and keeps it, unless it is the last one again.
    fn tell(&self, difference: Difference) {
        if self.differences.borrow().last() != Some(&difference) {
            self.differences.borrow_mut().push(difference);
            log::error!("two stack walkers disagree: {difference}");
        }
    }

    fn difference(&self) -> Option<Difference> {
        let mut first = RecordedWalker::record(&self.first).into_frames();
        let mut second = RecordedWalker::record(&self.second).into_frames();
        let unknown = |frame: &&Frame| frame.compiled && !self.registry.is_wasm(frame.pc);
        let compiled = second.iter().filter(unknown).copied().collect();
        self.compiled.replace(compiled);
        first.retain(|&frame| self.is_compared(frame));
        second.retain(|&frame| self.is_compared(frame));
        (0..first.len().max(second.len()))
            .map(|index| Difference {
                index,
                first: first.get(index).copied(),
                second: second.get(index).copied(),
            })
            .find(|pair| !pair.agrees())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, .. } = self;
        write!(f, "Wasm frame {index}: the first walker has ")?;
        write_frame(f, self.first)?;
        f.write_str(", the second has ")?;
        write_frame(f, self.second)
    }
}

/// Writes the addresses of a frame, or that there is none.
fn write_frame(f: &mut fmt::Formatter<'_>, frame: Option<Frame>) -> fmt::Result {
    let Some(frame) = frame else {
        return f.write_str("none");
    };
    write!(f, "pc {:#x}", frame.pc)?;
    for (name, address) in [("sp", frame.sp), ("fp", frame.fp)] {
        match address {
            Some(address) => write!(f, " {name} {address:#x}")?,
            None => write!(f, " {name} unknown")?,
        }
    }
    Ok(())
}

impl Difference {
    fn agrees(&self) -> bool {
        let (Some(first), Some(second)) = (self.first, self.second) else {
            return false;
        };
        same_frame(first, second)
    }
}

/// Whether two walkers mean the same frame.
fn same_frame(a: Frame, b: Frame) -> bool {
    let same = |x: Option<usize>, y: Option<usize>| x.is_none() || y.is_none() || x == y;
    a.pc == b.pc && same(a.sp, b.sp) && same(a.fp, b.fp)
}

// SAFETY: it visits what the first walker visits, who keeps the contract, or nothing, and claims no
// more than that one does; what it calls compiled, one of the two calls so.
unsafe impl<A: StackWalker, B: StackWalker> StackWalker for ComparingWalker<'_, A, B> {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        if let Some(difference) = self.difference() {
            self.tell(difference);
            let there = difference.first.or(difference.second);
            let pc = there.map(|frame| frame.pc);
            return WalkEnd::stopped("two stack walkers disagree about a Wasm frame", pc);
        }
        self.first.walk(&mut |frame| {
            visit(Frame {
                compiled: frame.compiled || self.second_compiled(frame),
                ..frame
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Matching, ModuleStackMaps};

    fn frame(pc: usize, sp: usize) -> Frame {
        Frame::of_unknown_code(pc, Some(sp), None)
    }

    fn recorded(frames: &[Frame], end: WalkEnd) -> RecordedWalker {
        // SAFETY: these tests walk, and never collect.
        unsafe { RecordedWalker::new(frames.to_vec(), end) }
    }

    fn registry() -> StackMapRegistry {
        let registry = StackMapRegistry::new();
        let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
        module.function(0..0x100).unwrap();
        registry.register(0x1000, module).unwrap();
        registry
    }

    #[test]
    fn walkers_may_differ_in_host_frames() {
        let registry = registry();
        let wasm = frame(0x1010, 64);
        let whole = recorded(&[frame(5, 8), wasm, frame(6, 128)], WalkEnd::Unproven);
        let only_wasm = recorded(&[wasm], WalkEnd::Complete);
        let walker = ComparingWalker::new(&registry, &only_wasm, &whole);
        assert_eq!(RecordedWalker::record(&walker), only_wasm);
        assert_eq!(walker.take_differences(), []);
    }

    #[test]
    fn a_difference_in_wasm_frames_stops_the_walk() {
        let registry = registry();
        let (a, b, c) = (frame(0x1010, 64), frame(0x1020, 96), frame(0x1020, 104));
        let first = recorded(&[a, b], WalkEnd::Complete);
        for (other, index) in [(&[a, c][..], 1), (&[a], 1), (&[a, b, c], 2), (&[b], 0)] {
            let second = recorded(other, WalkEnd::Complete);
            let walker = ComparingWalker::new(&registry, &first, &second);
            let walked = RecordedWalker::record(&walker);
            assert!(walked.end().is_stopped());
            assert_eq!(walked.frames(), [], "nothing proves that these are all");
            assert_eq!(walker.take_differences()[0].index, index);
        }
    }

    /// Defect: the frame passed for the host's if the first walker could not tell.
    #[test]
    fn a_frame_that_either_walker_calls_compiled_is_shown_compiled() {
        let registry = registry();
        let wasm = frame(0x1010, 64);
        let unknown = [frame(5, 8), wasm, frame(6, 128), frame(7, 256)];
        let compiled = [wasm, Frame::of_compiled_code(6, None, None)];
        let (first, second) = (
            recorded(&unknown, WalkEnd::Unproven),
            recorded(&compiled, WalkEnd::Complete),
        );
        for walkers in [[&first, &second], [&second, &first]] {
            let walker = ComparingWalker::new(&registry, walkers[0], walkers[1]);
            let walked = RecordedWalker::record(&walker);
            let shown = walked
                .frames()
                .iter()
                .map(|frame| (frame.pc, frame.compiled));
            let calls_compiled: Vec<_> = shown.filter(|&(pc, _)| pc != 0x1010).collect();
            if walkers[0] == &first {
                assert_eq!(calls_compiled, [(5, false), (6, true), (7, false)]);
            } else {
                assert_eq!(calls_compiled, [(6, true)]);
            }
            assert_eq!(walker.take_differences(), []);
        }
    }

    #[test]
    fn a_compiled_frame_that_only_the_second_shows_stops_the_walk() {
        let registry = registry();
        let wasm = frame(0x1010, 64);
        let lost = Frame::of_compiled_code(6, Some(128), None);
        let elsewhere = frame(6, 136);
        let second = recorded(&[wasm, lost], WalkEnd::Complete);
        for first in [&[wasm][..], &[wasm, elsewhere]] {
            let first = recorded(first, WalkEnd::Complete);
            let walker = ComparingWalker::new(&registry, &first, &second);
            let walked = RecordedWalker::record(&walker);
            assert_eq!(walked.frames(), []);
            let difference = walker.take_differences()[0];
            assert_eq!((difference.index, difference.first), (1, None));
            assert_eq!(difference.second, Some(lost));
        }
    }

    /// Defect: it said that the walkers disagree where its visitor had broken the walk off.
    #[test]
    fn a_visitor_can_break() {
        let registry = registry();
        let (a, b) = (frame(0x1010, 64), frame(0x1020, 96));
        let first = recorded(&[a, b], WalkEnd::Complete);
        let walker = ComparingWalker::new(&registry, &first, &first);
        for limit in 1..=2 {
            let mut visits = 0;
            let end = walker.walk(&mut |_| {
                visits += 1;
                if visits == limit {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            assert_eq!((visits, end), (limit, WalkEnd::INTERRUPTED));
        }
        assert_eq!(walker.take_differences(), []);
    }
}
