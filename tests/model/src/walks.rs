//! What walkers show of the stacks.

use crate::frames::WasmFrame;
use crate::stacks::{HOST_PC, Stack, WORD};
use arbitrary::{Result, Unstructured};
use core::ops::ControlFlow;
use vmexternref_core::{Frame, RecordedWalker, StackWalker, WalkEnd};

/// What a walker shows, and how it ends.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) frames: Vec<Frame>,
    pub(crate) end: WalkEnd,
    pub(crate) proves_end: bool,
}

/// Which frames a walker can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The Wasm frames of the context, on all its stacks.
    Activations,
    /// Everything on the stack that runs.
    RunningStack,
    /// Everything on every stack.
    Stacks,
}

/// What to show of a frame's addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Addresses {
    Both,
    StackPointer,
    /// And no stack pointer: the words of frames of unknown size cannot be found.
    FramePointer,
    /// A callee's tail call has moved the stack pointer.
    MovedStackPointer,
    /// The frame pointer where the size is known, and the stack pointer elsewhere.
    Enough,
    Neither,
    /// Frames are two words smaller than their stack maps say.
    Shrunk,
}

/// How a host looks for frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) view: View,
    pub(crate) addresses: Addresses,
    /// Whether the walker says of Wasm frames that they are compiled code.
    pub(crate) tells_compiled: bool,
    pub(crate) proves_end: bool,
    /// Whether a walk that is not cut ends as a complete one.
    pub(crate) completes: bool,
    /// Which part of the frames is shown, and how such a walk ends; all of them if `None`.
    pub(crate) cut: Option<(u8, WalkEnd)>,
}

pub(crate) const STOPPED: WalkEnd = WalkEnd::stopped("this case wants it so", None);

impl Manner {
    pub(crate) fn arbitrary(faulty: bool, u: &mut Unstructured<'_>) -> Result<Self> {
        use Addresses::{
            Both, Enough, FramePointer, MovedStackPointer, Neither, Shrunk, StackPointer,
        };
        let view = *u.choose(&[View::Activations, View::RunningStack, View::Stacks])?;
        let mut addresses = *u.choose(&[Both, StackPointer, MovedStackPointer, Enough])?;
        let mut cut = None;
        if faulty && u.ratio(1, 3)? {
            cut = Some((u.arbitrary()?, *u.choose(&[WalkEnd::Unproven, STOPPED])?));
        }
        if faulty && u.ratio(1, 8)? {
            addresses = *u.choose(&[FramePointer, Neither, Shrunk])?;
        }
        Ok(Self {
            view,
            addresses,
            tells_compiled: view == View::Activations || u.arbitrary()?,
            proves_end: view == View::Activations && u.arbitrary()?,
            completes: match view {
                View::Activations => true,
                View::RunningStack => false,
                View::Stacks => u.arbitrary()?,
            },
            cut,
        })
    }

    /// What a walker of this manner shows of `stacks`, of which the one at `running` runs.
    ///
    /// `missing` says whether a module is not registered: a walker has to tell that its frames are
    /// compiled code.
    pub(crate) fn walk(
        self,
        stacks: &[Stack],
        running: usize,
        table: usize,
        missing: impl Fn(usize) -> bool,
    ) -> Walk {
        let mut frames = Vec::new();
        let order = (0..stacks.len()).map(|index| (running + index) % stacks.len());
        for index in order.filter(|&index| self.view != View::RunningStack || index == running) {
            let first = frames.len();
            self.show(&stacks[index], table, &missing, &mut frames);
            if let Some(frame) = frames.get_mut(first) {
                *frame = frame.on_new_stack();
            }
        }
        let mut end = if self.completes {
            WalkEnd::Complete
        } else {
            WalkEnd::Unproven
        };
        if let Some((part, cut)) = self.cut {
            frames.truncate(frames.len() * usize::from(part) / 256);
            end = cut;
        }
        Walk {
            frames,
            end,
            proves_end: self.proves_end,
        }
    }

    fn show(
        self,
        stack: &Stack,
        table: usize,
        missing: impl Fn(usize) -> bool,
        frames: &mut Vec<Frame>,
    ) {
        let host = |sp| Frame::of_unknown_code(HOST_PC, Some(sp), None);
        for activation in stack.activations.iter().rev() {
            let everything = self.view != View::Activations;
            if everything || activation.table == table {
                let wasm = activation.frames.iter().rev();
                frames.extend(wasm.map(|frame| self.frame(frame, missing(frame.module))));
            }
            if everything {
                frames.push(host(activation.host_sp));
            }
        }
        if self.view != View::Activations && stack.has_oldest_frame {
            frames.push(host(stack.oldest_sp()));
        }
    }

    fn frame(self, frame: &WasmFrame, missing: bool) -> Frame {
        let (sp, fp) = match self.addresses {
            Addresses::Both => (Some(frame.sp), Some(frame.fp)),
            Addresses::FramePointer => (None, Some(frame.fp)),
            Addresses::Neither => (None, None),
            Addresses::Shrunk if frame.size_is_known => (Some(frame.sp + 2 * WORD), Some(frame.fp)),
            Addresses::MovedStackPointer if frame.size_is_known => {
                (Some(frame.sp - WORD), Some(frame.fp))
            }
            Addresses::Enough if frame.size_is_known => (None, Some(frame.fp)),
            Addresses::StackPointer
            | Addresses::MovedStackPointer
            | Addresses::Enough
            | Addresses::Shrunk => (Some(frame.sp), None),
        };
        if self.tells_compiled || missing {
            Frame::of_compiled_code(frame.pc, sp, fp)
        } else {
            Frame::of_unknown_code(frame.pc, sp, fp)
        }
    }
}

/// Replays a walk.
#[derive(Debug)]
pub(crate) struct Replay {
    recorded: RecordedWalker,
    proves_end: bool,
}

impl Walk {
    /// A walker that shows this.
    ///
    /// # Safety
    ///
    /// The frames are those of the stacks as long as the result is used, and `end` is right.
    pub(crate) unsafe fn replay(&self) -> Replay {
        Replay {
            // SAFETY: the caller guarantees the frames and the end.
            recorded: unsafe { RecordedWalker::new(self.frames.clone(), self.end) },
            proves_end: self.proves_end,
        }
    }
}

// SAFETY: it visits what was recorded, as often as it is asked.
unsafe impl StackWalker for Replay {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        self.recorded.walk(visit)
    }

    fn proves_end(&self) -> bool {
        self.proves_end
    }
}
