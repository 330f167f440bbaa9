//! How stack frames are found: the trait that a collection consumes.

use core::fmt;
use core::ops::ControlFlow;

/// One frame of a stack, as a walker found it.
///
/// A function `g` has called `f`, and `f` has called the host, which collects. As Cranelift lays
/// frames out, with lower addresses above:
///
/// ```text
///            +------------------+
///            | return address   | --> pc of f: where f goes on when the host returns
///            +------------------+ <-- sp of f, where word 0 of its stack map begins
///  frame     |                  |     word 1 …
///  of f      | slots            |
///            +------------------+ <-- fp of f
///            | fp of g          |
///            | return address   | --> pc of g: where g goes on when f returns
///            +------------------+ <-- sp of g, where word 0 of its stack map begins
///  frame     |                  |     word 1 …
///  of g      | slots            |
///            +------------------+ <-- fp of g
///            | fp of the caller |
///            | return address   | --> pc of the frame that called g
///            +------------------+
/// ```
///
/// So the `pc` of a frame is not in the frame: its callee, or the call itself, has stored it. The
/// words of a [stack map](crate::StackMap) begin at `sp`. If the map knows the frame's size in
/// words, and the walker knows `fp`, they begin that many words below `fp`.
///
/// At least one of `sp` and `fp` is known. Otherwise a collection keeps everything as soon as the
/// frame may hold a reference. Addresses are in bytes.
///
/// ```
/// use vmexternref_core::Frame;
///
/// // Two frames that surely are compiled, because they lie between two trampolines.
/// let f = Frame::of_compiled_code(0x1024, Some(0x8000), None);
/// let g = Frame::of_compiled_code(0x1188, Some(0x8030), Some(0x8050));
/// // An older one, of the host or not: this walker cannot tell.
/// let older = Frame::of_unknown_code(0x70_0400, Some(0x8060), None);
/// assert!(f.compiled && g.compiled && !older.compiled);
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
    /// A collection that meets such a frame in no registered module keeps everything. Any other
    /// frame in no registered module passes for the host's: what only it holds is freed.
    pub compiled: bool,
    /// Whether the frame lies on another stack than the frame visited before it.
    pub new_stack: bool,
}

impl Frame {
    /// A frame that is surely one of compiled code.
    ///
    /// It lies on the stack of the frame before it. If `pc` lies in no registered module, the
    /// collection keeps everything. Frames between an exit and an entry trampoline are compiled for
    /// sure, and so are all frames of a walker that sees compiled code only.
    #[inline]
    #[must_use]
    pub const fn of_compiled_code(pc: usize, sp: Option<usize>, fp: Option<usize>) -> Self {
        Self {
            pc,
            sp,
            fp,
            compiled: true,
            new_stack: false,
        }
    }

    /// A frame of host code or of compiled code: the walker cannot tell which.
    ///
    /// It lies on the stack of the frame before it. If `pc` lies in no registered module, the frame
    /// passes for the host's, and what only it holds is freed.
    #[inline]
    #[must_use]
    pub const fn of_unknown_code(pc: usize, sp: Option<usize>, fp: Option<usize>) -> Self {
        Self {
            pc,
            sp,
            fp,
            compiled: false,
            new_stack: false,
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
        reason: "the visitor broke off",
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
/// - gives the true `pc` of each frame, and a true `sp` or `fp`; of frames of compiled Wasm
///   functions, both are true where it gives both;
/// - calls a frame [compiled](Frame::of_compiled_code) only if it surely is;
/// - visits the same frames again when it is called again before anything on the stack has
///   changed;
/// - returns [`WalkEnd::Complete`] only if it can prove that it visited every Wasm frame that may
///   hold references of the table in question;
/// - visits no more frames after `visit` has returned [`ControlFlow::Break`], and then returns
///   [`WalkEnd::INTERRUPTED`];
/// - does not unwind (a collection aborts then);
/// - from its first visit on runs no code but its own: it does not log, allocate, collect, or use a
///   reference. Why a walk went wrong, it says in [`WalkEnd::Stopped`].
///
/// It may visit host frames, frames of several stacks, or Wasm frames only.
///
/// A caller guarantees that
///
/// - no frame that the walker may visit changes during the walk: it calls from the youngest of
///   these frames or with their threads stopped;
/// - compiled code has called the host in the way that the walker needs, for instance through an
///   exit trampoline that records where it left Wasm.
///
/// # Example
///
/// Compiled code, or its trampolines, keep a list of the frames, oldest first:
///
/// ```
/// use core::cell::RefCell;
/// use core::ops::ControlFlow;
/// use vmexternref_core::{Frame, StackWalker, WalkEnd};
///
/// /// The return address and the stack pointer of each frame.
/// struct CallStack(RefCell<Vec<(usize, usize)>>);
///
/// // SAFETY: each call and each return keeps the list true, so it has every frame. Nothing changes
/// // it during a walk, which runs no other code.
/// unsafe impl StackWalker for CallStack {
///     fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
///         for &(pc, sp) in self.0.borrow().iter().rev() {
///             // The list has no other frames, so each is surely one of compiled code.
///             if visit(Frame::of_compiled_code(pc, Some(sp), None)).is_break() {
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
    /// If so, a collection looks for no stack canaries on the way: that would take time for each
    /// pair of a stack and a canary. A wrong `true` makes collections keep everything.
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
