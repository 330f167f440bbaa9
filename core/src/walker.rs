//! How stack frames are found: the trait that a collection consumes.

use crate::registry::StackMapRegistry;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::ControlFlow;

/// One frame of a stack, as a walker found it.
///
/// At least one of `sp` and `fp` is known, else a collection keeps everything
/// that the frame may hold. Addresses are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The return address at which the frame goes on.
    pub pc: usize,
    /// The stack pointer of this frame at its call.
    ///
    /// It is the youngest address of the frame, so it may lie below where the
    /// frame's own code thinks it is if the callee was replaced by a tail call
    /// with more stack arguments.
    pub sp: Option<usize>,
    /// The frame pointer of this frame.
    pub fp: Option<usize>,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WalkEnd {
    /// Every Wasm frame was visited, and the walker can prove it.
    Complete,
    /// The walker came to an end that it takes for the oldest frame.
    Unproven,
    /// The walk broke off: a bad frame, or the visitor's wish.
    Stopped,
}

/// Finds the frames of the stacks that Wasm runs on.
///
/// # Safety
///
/// An implementer guarantees that [`walk`](Self::walk)
///
/// - visits frames of one stack from the youngest to the oldest, and goes on
///   to another stack only after it has proved the end of this one;
/// - skips no Wasm frame between the first and the last frame it visits of a stack;
/// - gives the true `pc` of each frame, and a true `sp` or `fp`; any other
///   `Some` it gives is true too for frames of compiled Wasm functions;
/// - visits the same frames again when it is called again before anything on
///   the stack has changed;
/// - returns [`WalkEnd::Complete`] only if it can prove that it visited every
///   Wasm frame that may hold references of the table in question;
/// - visits no more frames after `visit` has returned [`ControlFlow::Break`],
///   and then returns [`WalkEnd::Stopped`].
///
/// It may visit host frames, frames of several stacks, or Wasm frames only.
///
/// A caller guarantees that
///
/// - no frame that the walker may visit changes during the walk: it calls
///   from the youngest of these frames or with their threads stopped;
/// - compiled code has left Wasm as the walker wants it left, for instance
///   through an exit trampoline that records where.
pub unsafe trait StackWalker {
    /// Visits frames until there are no more or `visit` breaks.
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd;
}

// SAFETY: the walker behind the reference keeps the contract.
unsafe impl<W: StackWalker + ?Sized> StackWalker for &W {
    #[inline]
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        W::walk(self, visit)
    }
}

/// Replays frames that were recorded or made up.
///
/// It serves tests, and hosts whose compiled code keeps a list of its frames.
///
/// ```
/// use vmexternref_core::{Frame, RecordedWalker, StackWalker, WalkEnd};
///
/// let frame = Frame { pc: 0x1234, sp: Some(0x8000), fp: None };
/// // SAFETY: nothing collects with this walker.
/// let walker = unsafe { RecordedWalker::new(vec![frame], WalkEnd::Complete) };
/// assert_eq!(RecordedWalker::record(&walker), walker);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedWalker {
    frames: Vec<Frame>,
    end: WalkEnd,
}

impl RecordedWalker {
    /// A walker that visits `frames` and ends with `end`.
    ///
    /// # Safety
    ///
    /// Whenever it walks, `frames` and `end` keep the contract of
    /// [`StackWalker`] for the stack of that moment.
    #[must_use]
    pub unsafe fn new(frames: Vec<Frame>, end: WalkEnd) -> Self {
        Self { frames, end }
    }

    /// Records what `walker` visits now.
    ///
    /// The recording is true until something on the stack changes.
    #[must_use]
    pub fn record<W: StackWalker + ?Sized>(walker: &W) -> Self {
        let mut frames = Vec::new();
        let end = walker.walk(&mut |frame| {
            frames.push(frame);
            ControlFlow::Continue(())
        });
        Self { frames, end }
    }

    /// The frames, youngest first.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// How the walk ends.
    #[must_use]
    pub fn end(&self) -> WalkEnd {
        self.end
    }
}

// SAFETY: whoever made the recording guarantees that it is true at each walk.
unsafe impl StackWalker for RecordedWalker {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        for &frame in &self.frames {
            if visit(frame).is_break() {
                return WalkEnd::Stopped;
            }
        }
        self.end
    }
}

/// Walks with two walkers, and stops where they disagree about Wasm.
///
/// It visits what the first walker visits and ends as the first one ends,
/// unless the frames of Wasm functions are not the same in both. Then it
/// visits the frames up to the difference, one frame without addresses that
/// shows that Wasm goes on there, and ends with [`WalkEnd::Stopped`]: a
/// collection keeps everything. Two frames are the same if their `pc` is, and
/// their `sp` and `fp` where both walkers know them.
#[derive(Debug)]
pub struct ComparingWalker<'r, A, B> {
    registry: &'r StackMapRegistry,
    first: A,
    second: B,
    differences: RefCell<Vec<Difference>>,
}

/// Where two walkers disagreed: the frame of the one and of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Wasm frames that both had visited before, counted from the youngest.
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

    /// Takes the differences seen so far, at most one of each walk.
    pub fn take_differences(&self) -> Vec<Difference> {
        self.differences.take()
    }

    fn wasm_frames(&self, walker: &impl StackWalker) -> Vec<Frame> {
        let mut frames = RecordedWalker::record(walker).frames;
        frames.retain(|frame| self.registry.is_wasm(frame.pc));
        frames
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

impl Difference {
    fn agrees(&self) -> bool {
        let (Some(a), Some(b)) = (self.first, self.second) else {
            return false;
        };
        let same = |x: Option<usize>, y: Option<usize>| x.is_none() || y.is_none() || x == y;
        a.pc == b.pc && same(a.sp, b.sp) && same(a.fp, b.fp)
    }
}

// SAFETY: it visits what the first walker visits, who keeps the contract, and claims no more than that one does.
unsafe impl<A: StackWalker, B: StackWalker> StackWalker for ComparingWalker<'_, A, B> {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        let Some(difference) = self.difference() else {
            return self.first.walk(visit);
        };
        log::error!("two stack walkers disagree: {difference:x?}");
        self.differences.borrow_mut().push(difference);
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
        if let Some(Frame { pc, .. }) = there.filter(|_| !interrupted) {
            let (sp, fp) = (None, None);
            let _ = visit(Frame { pc, sp, fp });
        }
        WalkEnd::Stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module_maps::ModuleStackMaps;
    use crate::registry::Matching;
    use alloc::vec;

    fn frame(pc: usize, sp: usize) -> Frame {
        Frame {
            pc,
            sp: Some(sp),
            fp: None,
        }
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
    fn a_recording_replays_and_can_be_stopped() {
        let walker = recorded(&[frame(1, 8), frame(2, 16)], WalkEnd::Complete);
        let dynamic: &dyn StackWalker = &walker;
        assert_eq!(RecordedWalker::record(dynamic), walker);
        let mut seen = vec![];
        let end = walker.walk(&mut |frame| {
            seen.push(frame.pc);
            ControlFlow::Break(())
        });
        assert_eq!((seen, end), (vec![1], WalkEnd::Stopped));
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
            assert_eq!(walked.end(), WalkEnd::Stopped);
            let index = walker.take_differences()[0].index;
            let (last, agreed) = walked.frames().split_last().unwrap();
            assert_eq!(agreed, &first.frames()[..index]);
            assert!(registry.is_wasm(last.pc));
            assert_eq!((last.sp, last.fp), (None, None));
        }
    }
}
