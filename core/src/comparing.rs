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
/// It visits what the first walker visits and ends as the first one ends, unless the frames of
/// Wasm functions are not the same in both. Then it visits the frames up to the difference, one
/// frame without addresses that shows that Wasm goes on there, and ends with
/// [`WalkEnd::Stopped`]: a collection keeps everything. Two frames are the same if their `pc` is,
/// and their `sp` and `fp` where both walkers know them.
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
        }
    }

    /// Takes the differences seen so far, each once.
    pub fn take_differences(&self) -> Vec<Difference> {
        self.differences.take()
    }

    fn wasm_frames(&self, walker: &impl StackWalker) -> Vec<Frame> {
        let mut frames = RecordedWalker::record(walker).into_frames();
        frames.retain(|frame| self.registry.is_wasm(frame.pc));
        frames
    }

    /// Logs a difference and keeps it, unless it is the last one again.
    fn tell(&self, difference: Difference) {
        if self.differences.borrow().last() != Some(&difference) {
            self.differences.borrow_mut().push(difference);
            log::error!("two stack walkers disagree: {difference}");
        }
    }

    fn difference(&self) -> Option<Difference> {
        let first = self.wasm_frames(&self.first);
        let second = self.wasm_frames(&self.second);
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
        let (Some(a), Some(b)) = (self.first, self.second) else {
            return false;
        };
        let same = |x: Option<usize>, y: Option<usize>| x.is_none() || y.is_none() || x == y;
        a.pc == b.pc && same(a.sp, b.sp) && same(a.fp, b.fp)
    }
}

// SAFETY: it visits what the first walker visits, who keeps the contract, and claims no more than
// that one does.
unsafe impl<A: StackWalker, B: StackWalker> StackWalker for ComparingWalker<'_, A, B> {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        let Some(difference) = self.difference() else {
            return self.first.walk(visit);
        };
        self.tell(difference);
        let mut agreed = difference.index;
        let mut interrupted = false;
        let _ = self.first.walk(&mut |frame| {
            if self.registry.is_wasm(frame.pc) {
                if agreed == 0 {
                    return ControlFlow::Break(());
                }
                agreed -= 1;
            }
            let flow = visit(frame);
            interrupted = flow.is_break();
            flow
        });
        let there = difference.first.or(difference.second);
        let pc = there.map(|frame| frame.pc);
        if let (false, Some(pc)) = (interrupted, pc) {
            let wasm_goes_on = Frame::of_compiled_code(pc, None, None);
            interrupted = visit(wasm_goes_on).is_break();
        }
        if interrupted {
            return WalkEnd::INTERRUPTED;
        }
        WalkEnd::stopped("two stack walkers disagree about a Wasm frame", pc)
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
        for other in [&[a, c][..], &[a], &[a, b, c]] {
            let second = recorded(other, WalkEnd::Complete);
            let walker = ComparingWalker::new(&registry, &first, &second);
            let walked = RecordedWalker::record(&walker);
            assert!(walked.end().is_stopped());
            let index = walker.take_differences()[0].index;
            let (last, agreed) = walked.frames().split_last().unwrap();
            assert_eq!(agreed, &first.frames()[..index]);
            assert!(registry.is_wasm(last.pc));
            assert_eq!((last.sp, last.fp), (None, None));
        }
    }

    /// Defect: it said that the walkers disagree where its visitor had broken the walk off.
    #[test]
    fn a_visitor_can_break_before_the_difference_and_at_it() {
        let registry = registry();
        let (a, b) = (frame(0x1010, 64), frame(0x1020, 96));
        let first = recorded(&[a, b], WalkEnd::Complete);
        let second = recorded(&[a], WalkEnd::Complete);
        let walker = ComparingWalker::new(&registry, &first, &second);
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
    }
}
