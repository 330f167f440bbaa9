//! A walker that replays frames.

use crate::walker::{Frame, StackWalker, WalkEnd};
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// Replays frames that were recorded or made up.
///
/// It serves tests, and hosts whose compiled code keeps a list of its frames. Such frames are
/// [surely compiled](Frame::of_compiled_code).
///
/// ```
/// use vmexternref_core::{Frame, RecordedWalker, StackWalker, WalkEnd};
///
/// let frame = Frame::of_compiled_code(0x1234, Some(0x8000), None);
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
    /// Whenever it walks, `frames` and `end` are what a [`StackWalker`] that keeps its contract
    /// would show of the stack at that moment.
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

    /// The frames, youngest first.
    #[must_use]
    pub fn into_frames(self) -> Vec<Frame> {
        self.frames
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
                return WalkEnd::INTERRUPTED;
            }
        }
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_replays_and_can_be_stopped() {
        let frame = |pc, sp| Frame::of_unknown_code(pc, Some(sp), None);
        // SAFETY: this test walks, and never collects.
        let walker =
            unsafe { RecordedWalker::new(vec![frame(1, 8), frame(2, 16)], WalkEnd::Complete) };
        let dynamic: &dyn StackWalker = &walker;
        assert_eq!(RecordedWalker::record(dynamic), walker);
        let mut seen = vec![];
        let end = walker.walk(&mut |frame| {
            seen.push(frame.pc);
            ControlFlow::Break(())
        });
        assert_eq!((seen, end), (vec![1], WalkEnd::INTERRUPTED));
    }
}
