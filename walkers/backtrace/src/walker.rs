//! The walker over the system's unwinder.

use crate::compiled_code::CompiledCode;
use core::ops::ControlFlow;
use vmexternref_core::{Frame, StackWalker, WalkEnd};

/// Bytes from a frame's frame pointer up to the next frame's stack pointer, if that is known.
///
/// On these architectures Cranelift keeps the frame's record there, which has two words: the older
/// frame pointer and the return address. On `s390x` it keeps a back chain, whose links are stack
/// pointers.
const FP_BELOW_NEXT_SP: Option<usize> = if cfg!(target_arch = "s390x") {
    Some(0)
} else if cfg!(any(
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "x86",
    target_arch = "x86_64"
)) {
    Some(2 * size_of::<usize>())
} else {
    None
};

/// Walks every frame that the system's unwinder finds.
///
/// ```text
///               |            |
///   next frame  |            |
///               +------------+  <- sp of the next frame
///               | return pc  |
///               | older fp   |  <- fp of this frame: two words below
///   this frame  |            |
///               |            |
///               +------------+  <- sp of this frame
/// ```
///
/// The unwinder tells a frame's `sp` only, so each frame is reported when the next one is known.
/// Its `fp` is right for every frame that keeps its frame record at its top, as Wasm frames do on
/// x86, `AArch64` and RISC-V, and on `s390x`, where it is the next frame's `sp`. For a host frame
/// it need not mean anything. The oldest frame's is `None`, and so is every frame's on other
/// architectures.
///
/// An unwinder may go on from a coroutine's stack to the stack that resumed it, and cannot tell. If
/// the table has references on a third stack, the host wraps this walker in one that marks the
/// first frame of each stack ([`Frame::new_stack`]). Otherwise canaries of a stack that lies
/// between the two would count as passed.
///
/// Frames of code whose [tables are registered](crate::UnwindTables) are called compiled, so that a
/// collection notices such code in no registered module. All others are of unknown code.
///
/// A walk to the end is [`WalkEnd::Unproven`]: the end of the stack looks like code without tables.
///
/// ```
/// use std::ops::ControlFlow;
/// use vmexternref_backtrace::BacktraceWalker;
/// use vmexternref_core::{StackWalker, WalkEnd};
///
/// let mut frames = 0;
/// let end = BacktraceWalker.walk(&mut |_| {
///     frames += 1;
///     ControlFlow::Continue(())
/// });
/// assert_eq!(end, WalkEnd::Unproven);
/// assert!(frames > 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BacktraceWalker;

// SAFETY: the unwinder passes each frame in turn, or ends the walk at the first it cannot pass;
// `Complete` is never said.
unsafe impl StackWalker for BacktraceWalker {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        let mut delayed = Delayed::new(FP_BELOW_NEXT_SP);
        let mut end = WalkEnd::Unproven;
        backtrace::trace(|frame| {
            let (pc, sp) = (frame.ip().addr(), frame.sp().addr());
            if sp == 0 {
                end = WalkEnd::stopped("the unwinder does not know the stack pointer", Some(pc));
                return false;
            }
            if let Some(ready) = delayed.next(pc, sp)
                && visit(ready).is_break()
            {
                end = WalkEnd::INTERRUPTED;
                delayed.frame = None;
                return false;
            }
            true
        });
        match delayed.frame {
            Some(oldest) if visit(oldest).is_break() => WalkEnd::INTERRUPTED,
            _ => end,
        }
    }
}

/// The frame that waits for the next one, which tells its frame pointer.
struct Delayed {
    frame: Option<Frame>,
    fp_below_next_sp: Option<usize>,
}

impl Delayed {
    const fn new(fp_below_next_sp: Option<usize>) -> Self {
        Self {
            frame: None,
            fp_below_next_sp,
        }
    }

    /// Takes in a frame, and gives back the one before it.
    fn next(&mut self, pc: usize, sp: usize) -> Option<Frame> {
        let frame = if CompiledCode::returns_to(pc) {
            Frame::of_compiled_code(pc, Some(sp), None)
        } else {
            Frame::of_unknown_code(pc, Some(sp), None)
        };
        let mut ready = self.frame.replace(frame)?;
        ready.fp = self
            .fp_below_next_sp
            .and_then(|bytes| sp.checked_sub(bytes));
        Some(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::{BacktraceWalker, Delayed, FP_BELOW_NEXT_SP};
    use crate::compiled_code::CompiledCode;
    use core::hint::black_box;
    use core::ops::ControlFlow;
    use vmexternref_core::{Frame, StackWalker, WalkEnd};

    fn walk_at_most(limit: usize) -> (Vec<Frame>, WalkEnd) {
        let mut frames = Vec::new();
        let end = BacktraceWalker.walk(&mut |frame| {
            frames.push(frame);
            if frames.len() == limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        (frames, end)
    }

    fn walk() -> (Vec<Frame>, WalkEnd) {
        walk_at_most(usize::MAX)
    }

    /// Recurses, and at the bottom calls `f` with the address of a local of each frame.
    #[inline(never)]
    fn recurse(depth: usize, locals: &mut Vec<usize>, f: &mut dyn FnMut(&[usize])) {
        let local = 0_usize;
        locals.push((&raw const *black_box(&local)).addr());
        if depth == 0 {
            f(locals);
        } else {
            recurse(depth - 1, locals, f);
        }
        black_box(&local);
    }

    #[test]
    fn each_rust_frame_is_found_once_with_its_stack_pointer() {
        recurse(20, &mut Vec::new(), &mut |locals| {
            let (frames, end) = walk();
            assert_eq!(end, WalkEnd::Unproven);
            let sps: Vec<usize> = frames.iter().filter_map(|frame| frame.sp).collect();
            assert_eq!(sps.len(), frames.len());
            // The oldest function of a thread has a frame of its own only on x86.
            let frameless = !cfg!(any(target_arch = "x86", target_arch = "x86_64"));
            let framed = sps.len() - usize::from(frameless);
            assert!(sps[..framed].is_sorted_by(|a, b| a < b), "{sps:x?}");
            for caller in locals.windows(2) {
                let between = sps
                    .iter()
                    .filter(|&&sp| caller[1] < sp && sp <= caller[0])
                    .count();
                assert_eq!(between, 1, "one frame between two locals");
            }
        });
    }

    #[test]
    fn every_frame_but_the_oldest_has_a_frame_pointer_at_its_top() {
        let (frames, _) = walk();
        for pair in frames.windows(2) {
            let next = pair[1].sp.expect("the unwinder knows it");
            assert_eq!(pair[0].fp, FP_BELOW_NEXT_SP.map(|bytes| next - bytes));
        }
        assert_eq!(frames.last().expect("frames").fp, None);
    }

    #[test]
    fn a_visitor_can_break_at_any_frame() {
        recurse(5, &mut Vec::new(), &mut |_| {
            let total = walk_at_most(usize::MAX).0.len();
            for limit in [1, 2, 5, total - 1, total] {
                let (frames, end) = walk_at_most(limit);
                assert_eq!((frames.len(), end), (limit, WalkEnd::INTERRUPTED));
            }
        });
    }

    #[test]
    fn a_stack_pointer_too_low_for_a_record_gives_no_frame_pointer() {
        let mut delayed = Delayed::new(Some(16));
        assert_eq!(delayed.next(1, 4), None);
        assert_eq!(
            delayed.next(2, 8),
            Some(Frame::of_unknown_code(1, Some(4), None))
        );
        let ready = Some(Frame::of_unknown_code(2, Some(8), Some(0x100)));
        assert_eq!(delayed.next(3, 0x110), ready);
    }

    /// Defect: code in no registered module counted as the host's, and what it held was freed.
    #[test]
    fn frames_of_code_with_registered_tables_are_compiled() {
        let code = CompiledCode::new(0x1000..0x1010).expect("there is memory");
        let mut delayed = Delayed::new(None);
        let mut shown = Vec::new();
        for (pc, sp) in [(0x1008, 1), (0x1020, 2), (0x1010, 3), (0, 4)] {
            shown.extend(delayed.next(pc, sp));
        }
        drop(code);
        let expected = [
            Frame::of_compiled_code(0x1008, Some(1), None),
            Frame::of_unknown_code(0x1020, Some(2), None),
            Frame::of_compiled_code(0x1010, Some(3), None),
        ];
        assert_eq!(shown, expected);
    }

    /// Defect: where records lie elsewhere, the walker called another word the frame pointer.
    #[test]
    fn a_frame_without_a_record_at_its_top_has_no_frame_pointer() {
        let mut delayed = Delayed::new(None);
        assert_eq!(delayed.next(1, 0x1000), None);
        assert_eq!(
            delayed.next(2, 0x2000),
            Some(Frame::of_unknown_code(1, Some(0x1000), None))
        );
    }
}
