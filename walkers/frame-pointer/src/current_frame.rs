//! The walker that starts at the frame that calls it.

use crate::arch::{HOST_RECORD_BELOW_FP, HOST_RECORD_ON_TOP, frame_pointer, strip};
use crate::chain::{Chain, ChainEnd, Link};
use core::marker::PhantomData;
use core::ops::{ControlFlow, Range};
use core::ptr;
use vmexternref_core::{Frame, StackMapRegistry, StackWalker, WalkEnd};

/// Walks host and Wasm frames alike, from the frame that calls it.
///
/// For hosts that were built with frame pointers and cannot add trampolines. It finds host frames
/// too, and can never prove that it found every Wasm frame: a walk ends `Unproven` where the chain
/// of frame records ends, and `Stopped` where the chain breaks, as it does in code without frame
/// pointers (C libraries, as a rule). Set a stack canary, so that a collection knows how far the
/// walk has to come.
///
/// # Not suitable for
///
/// Hosts of which any part between Wasm and the collection may have been built without frame
/// pointers. **A host function without a frame record hides its caller**, and if that is the
/// youngest Wasm frame, its references are freed while it uses them. Nothing notices: the chain is
/// whole, and the canary check passes. [`host_has_frame_pointers`] finds out whether *this crate*
/// was built with them, and so with `-C force-frame-pointers=yes` for the whole of a Cargo build.
/// [`ActivationsWalker`] has no such trap.
///
/// [`host_has_frame_pointers`]: crate::host_has_frame_pointers
/// [`ActivationsWalker`]: crate::ActivationsWalker
#[derive(Clone, Debug)]
pub struct CurrentFrameWalker<'r> {
    registry: &'r StackMapRegistry,
    stack: Range<usize>,
    this_thread: PhantomData<*const ()>,
}

impl<'r> CurrentFrameWalker<'r> {
    /// A walker of this thread's stack, whose addresses are `stack`.
    ///
    /// `stack.start` may be any address below the frames to come. `stack.end` may be the address of
    /// a local variable of a frame that outlives the walker: older frames are then not walked. A
    /// stack canary has to be set by a younger frame than that one, or no walk covers it.
    /// The registry tells compiled frames from the host's, where they are laid out differently.
    ///
    /// ```
    /// use core::ops::ControlFlow;
    /// use vmexternref_core::{StackMapRegistry, StackWalker};
    /// use vmexternref_frame_pointer::{CurrentFrameWalker, host_has_frame_pointers};
    ///
    /// if !host_has_frame_pointers() {
    ///     return; // This walker would be unsound here.
    /// }
    /// let registry = StackMapRegistry::new();
    /// let oldest = 0_u8;
    /// // SAFETY: all code here has frame pointers, and the stack reaches up to a local of ours.
    /// let walker = unsafe { CurrentFrameWalker::new(&registry, 0..(&raw const oldest).addr()) };
    /// walker.walk(&mut |frame| {
    ///     println!("{:#x}", frame.pc);
    ///     ControlFlow::Continue(())
    /// });
    /// ```
    ///
    /// # Safety
    ///
    /// - Every function that can lie on the stack between a Wasm frame and a walk, and calls
    ///   another, keeps a frame record where the architecture's frame pointer says.
    /// - From the frame that calls `walk` up to `stack.end`, memory can be read.
    #[must_use]
    pub const unsafe fn new(registry: &'r StackMapRegistry, stack: Range<usize>) -> Self {
        Self {
            registry,
            stack,
            this_thread: PhantomData,
        }
    }

    /// Where a frame keeps its record: compiled code at its frame pointer, the host below it.
    #[inline]
    fn record_of(&self, link: &Link) -> usize {
        if HOST_RECORD_BELOW_FP == 0 || self.registry.is_code(link.pc) {
            link.fp
        } else {
            link.fp.wrapping_sub(HOST_RECORD_BELOW_FP)
        }
    }

    /// Visits the frame whose frame pointer leads nowhere, and ends the walk with `end`.
    ///
    /// The address after its callee's record serves as its stack pointer: where that is not quite
    /// it, the frame is the host's, and only seems to begin a little younger than it does.
    fn visit_last(
        &self,
        last: Link,
        end: WalkEnd,
        visit: &mut dyn FnMut(Frame) -> ControlFlow<()>,
    ) -> WalkEnd {
        if self.registry.is_code(last.pc) {
            // The words of a Wasm frame are found from its frame pointer, which is not to be had.
            return WalkEnd::stopped("a compiled frame has no frame pointer", Some(last.pc));
        }
        match visit(Frame::of_unknown_code(last.pc, Some(last.sp), None)) {
            ControlFlow::Continue(()) => end,
            ControlFlow::Break(()) => WalkEnd::INTERRUPTED,
        }
    }
}

/// The word at an address of the stack that is being walked.
#[inline]
fn word_of_stack(address: usize) -> Option<usize> {
    let word = ptr::with_exposed_provenance::<usize>(address);
    // SAFETY: the chain asks for aligned words between the current frame and the end of the stack,
    // which can be read, as the caller of `CurrentFrameWalker::new` guarantees.
    Some(unsafe { word.read() })
}

// SAFETY: where every frame has its record, as the caller of `CurrentFrameWalker::new` guarantees,
// the chain passes each frame in turn; `Complete` is never said.
unsafe impl StackWalker for CurrentFrameWalker<'_> {
    #[inline]
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        let record = frame_pointer().wrapping_sub(HOST_RECORD_BELOW_FP);
        let start = self.stack.start.max(record);
        let chain = Chain {
            pc: None,
            record,
            end: 0,
            bounds: start..self.stack.end,
        };
        let mut host_callee = true;
        let end = chain.follow_records(
            |link| self.record_of(link),
            strip,
            word_of_stack,
            |link| {
                let sp = (HOST_RECORD_ON_TOP || !host_callee).then_some(link.sp);
                host_callee = !HOST_RECORD_ON_TOP && !self.registry.is_code(link.pc);
                visit(Frame::of_unknown_code(link.pc, sp, Some(link.fp)))
            },
        );
        match end {
            ChainEnd::Reached { last } => self.visit_last(last, WalkEnd::Unproven, visit),
            ChainEnd::Interrupted => WalkEnd::INTERRUPTED,
            ChainEnd::Broken { reason, last } => {
                let end = WalkEnd::stopped(reason.reason(), last.map(|link| link.pc));
                match last {
                    Some(last) => self.visit_last(last, end, visit),
                    None => end,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CurrentFrameWalker;
    use crate::arch::HOST_RECORD_ON_TOP;
    use crate::probe::host_has_frame_pointers;
    use core::hint::black_box;
    use core::ops::{ControlFlow, Range};
    use std::vec::Vec;
    use vmexternref_core::{Frame, StackMapRegistry, StackWalker, WalkEnd};

    fn assert_frame_pointers() {
        assert!(
            host_has_frame_pointers(),
            "these tests need `-C force-frame-pointers=yes`, which .cargo/config.toml sets"
        );
    }

    fn walk(registry: &StackMapRegistry, stack: Range<usize>) -> (Vec<Frame>, WalkEnd) {
        let mut frames = Vec::new();
        // SAFETY: the tests end `stack` at a local of a running frame, and call this only if host
        // code has frame pointers.
        let walker = unsafe { CurrentFrameWalker::new(registry, stack) };
        let end = walker.walk(&mut |frame| {
            frames.push(frame);
            ControlFlow::Continue(())
        });
        (frames, end)
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
    fn each_rust_frame_is_found_once() {
        assert_frame_pointers();
        recurse(20, &mut Vec::new(), &mut |locals| {
            let (frames, end) = walk(&StackMapRegistry::new(), 0..locals[0]);
            assert!(end.is_stopped(), "older frames are out of bounds");
            // Where records need not end their frames, frame pointers stand in for stack pointers.
            let place = |frame: &Frame| {
                if HOST_RECORD_ON_TOP {
                    frame.sp
                } else {
                    frame.fp
                }
            };
            let sps: Vec<usize> = frames.iter().filter_map(place).collect();
            assert!(sps.is_sorted_by(|a, b| a < b), "{sps:x?}");
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
    fn a_walk_that_starts_outside_the_stack_visits_nothing() {
        assert_frame_pointers();
        let local = 0_usize;
        let here = (&raw const local).addr();
        for stack in [0..0, 0..here - (1 << 16), here + (1 << 20)..usize::MAX] {
            let (frames, end) = walk(&StackMapRegistry::new(), stack.clone());
            assert_eq!(frames, [], "{stack:x?}");
            assert!(end.is_stopped(), "{stack:x?}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    mod with_an_oldest_frame {
        use super::{Frame, StackMapRegistry, Vec, WalkEnd, assert_frame_pointers, walk};
        use core::arch::naked_asm;
        use vmexternref_core::{Matching, ModuleStackMaps};

        /// What a walk under `call_above` takes and gives.
        struct Walk {
            registry: StackMapRegistry,
            frames: Vec<Frame>,
            end: WalkEnd,
        }

        extern "sysv64" fn walk_below(walk_to_do: &mut Walk) {
            let above = 0_usize;
            let end = (&raw const above).addr() + 4096;
            (walk_to_do.frames, walk_to_do.end) = walk(&walk_to_do.registry, 0..end);
        }

        /// Calls `f(walk)` with a made-up frame record above: `fp` and `pc`.
        #[unsafe(naked)]
        extern "sysv64" fn call_above(
            fp: usize,
            pc: usize,
            walk: &mut Walk,
            f: extern "sysv64" fn(&mut Walk),
        ) {
            naked_asm!(
                "push rbp",
                "push rdi",
                "push rsi",
                "push rsi",
                "push rdi",
                "mov rbp, rsp",
                "mov rdi, rdx",
                "call rcx",
                "add rsp, 32",
                "pop rbp",
                "ret",
            )
        }

        const PC: usize = 0x4321;

        fn walk_under(fp: usize, registry: StackMapRegistry) -> Walk {
            let mut walk = Walk {
                registry,
                frames: Vec::new(),
                end: WalkEnd::Complete,
            };
            call_above(fp, PC, &mut walk, walk_below);
            walk
        }

        #[test]
        fn a_chain_that_ends_is_unproven_and_its_last_frame_is_seen() {
            assert_frame_pointers();
            let walk = walk_under(0, StackMapRegistry::new());
            assert_eq!(walk.end, WalkEnd::Unproven);
            let last = walk.frames.last().expect("frames");
            assert_eq!((last.pc, last.fp), (PC, None));
            assert!(last.sp > walk.frames[0].sp);
        }

        #[test]
        fn a_chain_that_breaks_is_stopped_and_its_last_host_frame_is_seen() {
            assert_frame_pointers();
            for fp in [1, 8, usize::MAX, usize::MAX - 7] {
                let walk = walk_under(fp, StackMapRegistry::new());
                assert!(walk.end.is_stopped(), "{fp:#x}");
                assert_eq!(
                    walk.frames.last().map(|last| (last.pc, last.fp)),
                    Some((PC, None))
                );
            }
        }

        #[test]
        fn a_compiled_frame_without_a_frame_pointer_is_not_visited() {
            assert_frame_pointers();
            for fp in [0, 8] {
                let registry = StackMapRegistry::new();
                let module = ModuleStackMaps::new(0x100, Matching::Exact);
                registry.register(PC - 0x10, module).expect("registered");
                let walk = walk_under(fp, registry);
                assert!(walk.end.is_stopped());
                assert!(
                    walk.frames
                        .iter()
                        .all(|frame| frame.pc != PC && frame.fp.is_some())
                );
                assert!(!walk.frames.is_empty());
            }
        }
    }
}
