//! How stack frames are found: the trait that a collection consumes.

use core::fmt;
use core::ops::ControlFlow;

/// One frame of a stack, as a walker found it.
///
/// At least one of `sp` and `fp` is known. Otherwise a collection keeps everything as soon as the
/// frame may hold a reference. Addresses are in bytes.
///
/// ```
/// use vmexternref_core::Frame;
///
/// // Compiled code goes on at 0x1024, its frame begins at 0x8000, and a walker knows that it is
/// // compiled, because it lies between two trampolines.
/// let frame = Frame::new(0x1024, Some(0x8000), None).of_compiled_code();
/// assert_eq!((frame.pc, frame.fp), (0x1024, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Frame {
    /// The return address at which the frame goes on.
    pub pc: usize,
    /// The stack pointer of this frame at its call.
    ///
    /// It is the youngest address of the frame. It may lie below where the frame's own code thinks
    /// it is, if the callee was replaced by a tail call with more stack arguments.
    pub sp: Option<usize>,
    /// The frame pointer of this frame.
    pub fp: Option<usize>,
    /// Whether the walker is sure that the frame is one of compiled code.
    ///
    /// A collection keeps everything if such a frame lies in no registered module. Frames between
    /// an exit and an entry trampoline are such frames.
    ///
    /// Say it of each frame that you know to be compiled. Without it, a frame in no registered
    /// module passes for the host's, and what it holds is freed.
    pub compiled: bool,
    /// Whether the frame lies on another stack than the frame visited before it.
    pub new_stack: bool,
}

impl Frame {
    /// A frame of host code or of compiled code, on the stack of the frame before it.
    #[inline]
    #[must_use]
    pub const fn new(pc: usize, sp: Option<usize>, fp: Option<usize>) -> Self {
        Self {
            pc,
            sp,
            fp,
            compiled: false,
            new_stack: false,
        }
    }

    /// The same frame, which is surely one of compiled code.
    #[inline]
    #[must_use]
    pub const fn of_compiled_code(self) -> Self {
        Self {
            compiled: true,
            ..self
        }
    }

    /// The same frame, as the first one of another stack.
    #[inline]
    #[must_use]
    pub const fn on_new_stack(self) -> Self {
        Self {
            new_stack: true,
            ..self
        }
    }
}

/// How a walk ended.
///
/// ```
/// use vmexternref_core::WalkEnd;
///
/// let end = WalkEnd::stopped("a frame lies outside of the stack", Some(0x1024));
/// assert_eq!(
///     end.to_string(),
///     "the walk stopped at pc 0x1024: a frame lies outside of the stack"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WalkEnd {
    /// Every Wasm frame was visited, and the walker can prove it.
    Complete,
    /// The walker came to an end that it takes for the oldest frame.
    Unproven,
    /// The walk broke off.
    Stopped {
        /// Why, as part of a sentence: what is wrong with the stack.
        reason: &'static str,
        /// The return address of the frame at which it broke off, if one is known.
        pc: Option<usize>,
    },
}

impl WalkEnd {
    /// The end of a walk that `visit` broke off.
    pub const INTERRUPTED: Self = Self::Stopped {
        reason: "the visitor had seen enough",
        pc: None,
    };

    /// The end of a walk that broke off for `reason`, at the frame that goes on at `pc`.
    #[must_use]
    pub const fn stopped(reason: &'static str, pc: Option<usize>) -> Self {
        Self::Stopped { reason, pc }
    }

    /// Whether the walk broke off.
    #[must_use]
    pub const fn is_stopped(self) -> bool {
        matches!(self, Self::Stopped { .. })
    }
}

impl fmt::Display for WalkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("the walk saw every Wasm frame"),
            Self::Unproven => f.write_str("the walk ended where it found no older frame"),
            Self::Stopped { reason, pc: None } => write!(f, "the walk stopped: {reason}"),
            Self::Stopped {
                reason,
                pc: Some(pc),
            } => write!(f, "the walk stopped at pc {pc:#x}: {reason}"),
        }
    }
}

/// Finds the frames of the stacks that Wasm runs on.
///
/// # Safety
///
/// An implementer guarantees that [`walk`](Self::walk)
///
/// - visits frames of one stack from the youngest to the oldest, and goes on to another stack only
///   after it has proved the end of this one; the first frame of each further stack says so
///   ([`Frame::new_stack`]);
/// - skips no Wasm frame between the first and the last frame it visits of a stack;
/// - gives the true `pc` of each frame, and a true `sp` or `fp`; any other `Some` it gives is true
///   too for frames of compiled Wasm functions; [`Frame::compiled`] is true only where it is sure;
/// - visits the same frames again when it is called again before anything on the stack has
///   changed;
/// - returns [`WalkEnd::Complete`] only if it can prove that it visited every Wasm frame that may
///   hold references of the table in question;
/// - visits no more frames after `visit` has returned [`ControlFlow::Break`], and then returns
///   [`WalkEnd::INTERRUPTED`];
/// - does not unwind (a collection aborts then), and from its first visit on runs no code but its
///   own: it does not log, allocate, collect, or use a reference. What is to be said about a walk
///   that went wrong, it says in [`WalkEnd::Stopped`].
///
/// It may visit host frames, frames of several stacks, or Wasm frames only.
///
/// A caller guarantees that
///
/// - no frame that the walker may visit changes during the walk: it calls from the youngest of
///   these frames or with their threads stopped;
/// - compiled code has left Wasm as the walker wants it left, for instance through an exit
///   trampoline that records where.
///
/// # Example
///
/// A stack that grows as a list does, with the oldest frame first:
///
/// ```
/// use core::cell::RefCell;
/// use core::ops::ControlFlow;
/// use vmexternref_core::{Frame, StackWalker, WalkEnd};
///
/// struct CallStack(RefCell<Vec<Frame>>);
///
/// // SAFETY: whoever calls and returns keeps the list true, so it has every frame. Nothing changes
/// // it during a walk, which runs no other code.
/// unsafe impl StackWalker for CallStack {
///     fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
///         for &frame in self.0.borrow().iter().rev() {
///             if visit(frame).is_break() {
///                 return WalkEnd::INTERRUPTED;
///             }
///         }
///         WalkEnd::Complete
///     }
///
///     fn proves_end(&self) -> bool {
///         true
///     }
/// }
/// ```
pub unsafe trait StackWalker {
    /// Visits frames until there are no more or `visit` breaks.
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd;

    /// Whether each walk that finds nothing wrong ends [`Complete`](WalkEnd::Complete).
    ///
    /// A collection then looks for no stack canaries on the way, which takes time for each pair of
    /// a stack and a canary. A wrong `true` makes collections keep everything.
    #[inline]
    fn proves_end(&self) -> bool {
        false
    }
}

// SAFETY: the walker behind the reference keeps the contract.
unsafe impl<W: StackWalker + ?Sized> StackWalker for &W {
    #[inline]
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        W::walk(self, visit)
    }

    #[inline]
    fn proves_end(&self) -> bool {
        W::proves_end(self)
    }
}
