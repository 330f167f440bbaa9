//! The walker over the activations of one interpreter.

use core::ops::{ControlFlow, Range};
use core::ptr;
use vmexternref_core::{Frame, StackWalker, WalkEnd};
use vmexternref_frame_pointer::{Activation, ActivationRecord, Chain, ChainEnd, Link};

/// Where the oldest frame of an activation returns to: `call_start` of the interpreter says so.
const HOST: usize = usize::MAX;

/// Walks the frames of every activation of one record, on the stack of one interpreter.
///
/// The walk is `Complete` when each activation's chain of frame records led from the frame that
/// called the host to the one that the host called, and on to the frame that had called the host
/// before. Anything else is `Stopped`, with the reason.
///
/// Each visited frame is [surely one of compiled code](Frame::compiled): a collection keeps
/// everything if one lies in no registered module.
///
/// What [`call`](crate::call) does, done by hand on an array that stands for a stack:
///
/// ```
/// use core::ops::ControlFlow;
/// use vmexternref_core::{StackWalker, WalkEnd};
/// use vmexternref_frame_pointer::{Activation, ActivationRecord};
/// use vmexternref_pulley::PulleyWalker;
///
/// const WORD: usize = size_of::<usize>();
/// let mut stack = [0_usize; 8];
/// let base = (&raw const stack).addr();
/// // The record of the frame that called the host, and of the one that the host called.
/// (stack[2], stack[3]) = (base + 6 * WORD, 0x2222);
/// (stack[6], stack[7]) = (usize::MAX, usize::MAX);
/// // The walk reads the stack as bytecode writes it: by address.
/// (&raw const stack).expose_provenance();
///
/// let record = ActivationRecord::new();
/// let activation = Activation {
///     exit_pc: 0x1111,
///     exit_fp: base + 2 * WORD,
///     entry_fp: usize::MAX,
/// };
/// // SAFETY: the addresses are those of the stack above.
/// unsafe { record.write(activation) };
/// let mut seen = Vec::new();
/// let walker = PulleyWalker::new(&record, base..base + 8 * WORD);
/// let end = walker.walk(&mut |frame| {
///     seen.push((frame.pc, frame.sp, frame.fp));
///     ControlFlow::Continue(())
/// });
/// assert_eq!(end, WalkEnd::Complete);
/// let youngest = (0x1111, None, Some(base + 2 * WORD));
/// assert_eq!(seen, [youngest, (0x2222, Some(base + 4 * WORD), Some(base + 6 * WORD))]);
/// ```
#[derive(Clone, Debug)]
pub struct PulleyWalker<'r> {
    record: &'r ActivationRecord,
    stack: Range<usize>,
    trampolines: bool,
}

impl<'r> PulleyWalker<'r> {
    /// A walker over the activations of `record`, whose frames lie in `stack`.
    ///
    /// `stack` is the whole stack of the interpreter ([`stack_bounds`](crate::stack_bounds)), and
    /// has its memory for as long as the walker is used. The walk reads nothing outside of it.
    #[must_use]
    pub const fn new(record: &'r ActivationRecord, stack: Range<usize>) -> Self {
        Self {
            record,
            stack,
            trampolines: false,
        }
    }

    /// Does not visit the youngest and the oldest frame of each activation.
    ///
    /// For bytecode that the host enters, and that calls the host, through trampolines only: they
    /// hold no references, and lie in no function that is registered.
    #[must_use]
    pub const fn without_trampolines(self) -> Self {
        Self {
            record: self.record,
            stack: self.stack,
            trampolines: true,
        }
    }

    /// Walks, with a visitor that can become part of the loop.
    #[inline(always)]
    fn follow(&self, mut visit: impl FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        let mut inside = Inside {
            lowest: self.stack.start,
            entry_fp: None,
        };
        let walked = self.record.each_activation(|activation| {
            if activation == Activation::default() {
                return ControlFlow::Continue(());
            }
            match self.follow_one(activation, &inside, &mut visit) {
                Ok(oldest) => {
                    inside = Inside {
                        lowest: oldest.sp,
                        entry_fp: Some(activation.entry_fp),
                    };
                    ControlFlow::Continue(())
                }
                Err(end) => ControlFlow::Break(end),
            }
        });
        match walked {
            ControlFlow::Break(end) => end,
            ControlFlow::Continue(()) => WalkEnd::Complete,
        }
    }

    /// Walks one activation, and returns what its oldest frame returns to.
    #[inline(always)]
    fn follow_one(
        &self,
        activation: Activation,
        inside: &Inside,
        mut visit: impl FnMut(Frame) -> ControlFlow<()>,
    ) -> Result<Link, WalkEnd> {
        inside.check(activation)?;
        let chain = Chain {
            pc: None,
            record: activation.exit_fp,
            end: activation.entry_fp,
            bounds: inside.lowest..self.stack.end,
        };
        // A frame is visited when an older one was found.
        let youngest = Frame::of_compiled_code(activation.exit_pc, None, Some(activation.exit_fp));
        let mut held = (!self.trampolines).then_some(youngest);
        let end = chain.follow_records(
            |link| link.fp,
            |pc| pc,
            word_of_stack,
            |link| match held.replace(frame(link)) {
                Some(frame) => visit(frame),
                None => ControlFlow::Continue(()),
            },
        );
        let last = match end {
            ChainEnd::Reached { last } if last.pc == HOST => last,
            ChainEnd::Reached { last } => {
                return Err(WalkEnd::stopped(NOT_TO_HOST, Some(last.pc)));
            }
            ChainEnd::Interrupted => return Err(WalkEnd::INTERRUPTED),
            ChainEnd::Broken { reason, last } => {
                let pc = last.map_or(activation.exit_pc, |link| link.pc);
                return Err(WalkEnd::stopped(reason.reason(), Some(pc)));
            }
        };
        match held {
            Some(oldest) if !self.trampolines && visit(oldest).is_break() => {
                Err(WalkEnd::INTERRUPTED)
            }
            _ => Ok(last),
        }
    }
}

const NOT_TO_HOST: &str = "the oldest frame does not return to the host";

/// What is known of the activation inside the one that is walked.
struct Inside {
    /// The address behind its oldest record.
    lowest: usize,
    /// The frame pointer before its call.
    entry_fp: Option<usize>,
}

impl Inside {
    /// Whether `activation` can be the one outside.
    #[inline]
    fn check(&self, activation: Activation) -> Result<(), WalkEnd> {
        let Activation {
            exit_pc,
            exit_fp,
            entry_fp,
        } = activation;
        let reason = if exit_pc == 0 || exit_fp == 0 || entry_fp == 0 {
            "bytecode was entered but has not called the host"
        } else if self.entry_fp.is_some_and(|inner| inner != exit_fp) {
            "the activation inside was not entered from this one's youngest frame"
        } else {
            return Ok(());
        };
        let pc = (exit_pc != 0).then_some(exit_pc);
        Err(WalkEnd::stopped(reason, pc))
    }
}

#[inline]
fn frame(link: Link) -> Frame {
    Frame::of_compiled_code(link.pc, Some(link.sp), Some(link.fp))
}

/// The word at an address of the stack that is being walked.
#[inline]
fn word_of_stack(address: usize) -> Option<usize> {
    let word = ptr::with_exposed_provenance::<usize>(address);
    // SAFETY: the chain asks for aligned words of the interpreter's stack from its youngest frame
    // on, as whoever wrote the record and made the walker guarantees.
    Some(unsafe { word.read() })
}

// SAFETY: a chain from the frame that called the host to the one that the host called passes each
// frame between, which bytecode with frame records guarantees; `Complete` is said only if every
// chain got there.
unsafe impl StackWalker for PulleyWalker<'_> {
    // A collection pays for each frame: with this inlined it makes no call for a frame.
    #[inline(always)]
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        self.follow(visit)
    }

    #[inline]
    fn proves_end(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{HOST, PulleyWalker};
    use core::ops::{ControlFlow, Range};
    use std::boxed::Box;
    use std::vec::Vec;
    use vmexternref_core::{Frame, StackWalker, WalkEnd};
    use vmexternref_frame_pointer::{Activation, ActivationRecord, StacksWalker};

    const WORD: usize = size_of::<usize>();
    const WORDS: usize = 32;

    /// What is before the outermost call in an interpreter's frame pointer.
    const NO_FRAME: usize = usize::MAX;

    /// Words that play the stack.
    #[repr(align(16))]
    struct Stack([usize; WORDS]);

    impl Stack {
        /// A stack of frame records: the word at which one stands, its older fp, its pc.
        fn new(records: &[(usize, Older, usize)]) -> Box<Self> {
            let mut stack = Box::new(Self([0xbad; WORDS]));
            for &(word, older, pc) in records {
                stack.0[word] = match older {
                    At(word) => stack.at(word),
                    Raw(fp) => fp,
                };
                stack.0[word + 1] = pc;
            }
            stack
        }

        fn at(&self, word: usize) -> usize {
            self.0.as_ptr().expose_provenance() + word * WORD
        }

        fn bounds(&self) -> Range<usize> {
            self.at(0)..self.at(WORDS)
        }

        fn left(&self, exit_pc: usize, exit: usize, entry_fp: usize) -> Activation {
            let exit_fp = self.at(exit);
            Activation {
                exit_pc,
                exit_fp,
                entry_fp,
            }
        }

        /// The youngest frame of an activation.
        fn youngest(&self, pc: usize, fp: usize) -> Frame {
            Frame::of_compiled_code(pc, None, Some(self.at(fp)))
        }

        fn frame(&self, pc: usize, sp: usize, fp: usize) -> Frame {
            Frame::of_compiled_code(pc, Some(self.at(sp)), Some(self.at(fp)))
        }

        fn walker<'r>(&self, record: &'r ActivationRecord) -> PulleyWalker<'r> {
            PulleyWalker::new(record, self.bounds())
        }
    }

    /// An older frame pointer.
    #[derive(Clone, Copy)]
    enum Older {
        At(usize),
        Raw(usize),
    }
    use Older::{At, Raw};

    fn write(record: &ActivationRecord, activation: Activation) {
        // SAFETY: the tests record addresses within a `Stack` that outlives the walk.
        unsafe { record.write(activation) };
    }

    fn record_of(activation: Activation) -> ActivationRecord {
        let record = ActivationRecord::new();
        write(&record, activation);
        record
    }

    /// Runs `f` with the activations `outer` and, inside it, `inner`.
    fn nested<R>(
        outer: Activation,
        inner: Activation,
        f: impl FnOnce(&ActivationRecord) -> R,
    ) -> R {
        let record = record_of(outer);
        // SAFETY: as in `write`.
        unsafe {
            record.enter(|| {
                write(&record, inner);
                f(&record)
            })
        }
    }

    fn walk(walker: &impl StackWalker) -> (Vec<Frame>, WalkEnd) {
        let mut frames = Vec::new();
        let end = walker.walk(&mut |frame| {
            frames.push(frame);
            ControlFlow::Continue(())
        });
        (frames, end)
    }

    fn stopped_at(pc: Option<usize>, end: WalkEnd) -> bool {
        matches!(end, WalkEnd::Stopped { pc: at, .. } if at == pc)
    }

    /// Three frames: the youngest goes on at 11, and has called the host.
    fn three_frames() -> Box<Stack> {
        Stack::new(&[(2, At(5), 12), (5, At(9), 13), (9, Raw(NO_FRAME), HOST)])
    }

    #[test]
    fn no_activation_is_no_frame_for_certain() {
        let (stack, record) = (three_frames(), ActivationRecord::new());
        let nothing = (Vec::new(), WalkEnd::Complete);
        assert_eq!(walk(&stack.walker(&record)), nothing);
        let none = Activation::default();
        nested(none, none, |record| {
            assert_eq!(walk(&stack.walker(record)), nothing);
        });
        assert!(stack.walker(&record).proves_end());
    }

    #[test]
    fn frames_from_the_host_call_to_the_host() {
        let stack = three_frames();
        let record = record_of(stack.left(11, 2, NO_FRAME));
        let frames = [
            stack.youngest(11, 2),
            stack.frame(12, 4, 5),
            stack.frame(13, 7, 9),
        ];
        let (all, end) = walk(&stack.walker(&record));
        assert_eq!((&all[..], end), (&frames[..], WalkEnd::Complete));
        let (between, end) = walk(&stack.walker(&record).without_trampolines());
        assert_eq!((&between[..], end), (&frames[1..2], WalkEnd::Complete));
    }

    #[test]
    fn one_frame_is_the_youngest_and_the_oldest() {
        let stack = Stack::new(&[(4, Raw(NO_FRAME), HOST)]);
        let record = record_of(stack.left(11, 4, NO_FRAME));
        let (frames, end) = walk(&stack.walker(&record));
        assert_eq!(
            (frames, end),
            (std::vec![stack.youngest(11, 4)], WalkEnd::Complete)
        );
        let (frames, end) = walk(&stack.walker(&record).without_trampolines());
        assert_eq!((frames, end), (Vec::new(), WalkEnd::Complete));
    }

    #[test]
    fn nested_activations_are_walked_youngest_first() {
        let stack = Stack::new(&[
            (0, At(3), 12),
            (3, At(8), HOST),
            (8, At(12), 22),
            (12, At(15), 23),
            (15, Raw(NO_FRAME), HOST),
        ]);
        let (outer, inner) = (stack.left(21, 8, NO_FRAME), stack.left(11, 0, stack.at(8)));
        nested(outer, inner, |record| {
            let (frames, end) = walk(&stack.walker(record));
            let all = [
                stack.youngest(11, 0),
                stack.frame(12, 2, 3),
                stack.youngest(21, 8),
                stack.frame(22, 10, 12),
                stack.frame(23, 14, 15),
            ];
            assert_eq!((&frames[..], end), (&all[..], WalkEnd::Complete));
            let (frames, end) = walk(&stack.walker(record).without_trampolines());
            assert_eq!((frames, end), (std::vec![all[3]], WalkEnd::Complete));
        });
    }

    #[test]
    fn an_activation_that_was_not_entered_from_the_one_outside_stops_the_walk() {
        let stack = Stack::new(&[(0, At(8), HOST), (8, At(12), 22), (12, Raw(NO_FRAME), HOST)]);
        let inner = stack.left(11, 0, stack.at(8));
        for (exit, stops) in [(8, false), (12, true)] {
            nested(stack.left(21, exit, NO_FRAME), inner, |record| {
                let (_, end) = walk(&stack.walker(record));
                assert_eq!(
                    stopped_at(Some(21), end),
                    stops,
                    "left at word {exit}: {end}"
                );
                assert_eq!(end == WalkEnd::Complete, !stops);
            });
        }
    }

    #[test]
    fn a_missing_word_stops_the_walk() {
        let stack = three_frames();
        let whole = stack.left(11, 2, NO_FRAME);
        let entered = Activation {
            entry_fp: NO_FRAME,
            ..Activation::default()
        };
        let (no_pc, no_exit, no_entry) = (
            Activation {
                exit_pc: 0,
                ..whole
            },
            Activation {
                exit_fp: 0,
                ..whole
            },
            Activation {
                entry_fp: 0,
                ..whole
            },
        );
        for activation in [entered, no_pc, no_exit, no_entry] {
            let record = record_of(activation);
            let (frames, end) = walk(&stack.walker(&record));
            assert_eq!(frames, [], "{activation:?}");
            let pc = (activation.exit_pc != 0).then_some(11);
            assert!(stopped_at(pc, end), "{activation:?}: {end}");
        }
    }

    #[test]
    fn a_broken_chain_stops_the_walk_and_is_not_followed() {
        let past_the_end = Raw(usize::MAX - (WORD - 1));
        for older in [
            At(2),
            At(5),
            At(6),
            At(0),
            At(WORDS - 1),
            past_the_end,
            Raw(0),
            Raw(9),
        ] {
            let stack = Stack::new(&[(2, At(5), 12), (5, older, 13)]);
            let record = record_of(stack.left(11, 2, NO_FRAME));
            let (frames, end) = walk(&stack.walker(&record));
            assert_eq!(frames, [stack.youngest(11, 2)]);
            assert!(stopped_at(Some(13), end), "{end}");
        }
    }

    #[test]
    fn an_end_that_does_not_return_to_the_host_stops_the_walk() {
        let stack = Stack::new(&[(2, At(5), 12), (5, Raw(NO_FRAME), 13)]);
        let record = record_of(stack.left(11, 2, NO_FRAME));
        let (_, end) = walk(&stack.walker(&record));
        assert!(stopped_at(Some(13), end), "{end}");
    }

    #[test]
    fn nothing_is_read_outside_of_the_stack() {
        let stack = three_frames();
        let record = record_of(stack.left(11, 2, NO_FRAME));
        for (bounds, whole) in [
            (stack.at(2)..stack.at(11), true),
            (stack.at(3)..stack.at(11), false),
            (stack.at(2)..stack.at(11) - 1, false),
            (stack.at(2)..stack.at(7), false),
            (stack.at(2)..stack.at(3), false),
            (0..0, false),
        ] {
            let (frames, end) = walk(&PulleyWalker::new(&record, bounds.clone()));
            assert_eq!(end == WalkEnd::Complete, whole, "{bounds:x?}: {end}");
            assert_eq!(frames.len() == 3, whole, "{bounds:x?}");
        }
    }

    #[test]
    fn a_visitor_can_break_at_each_frame() {
        let stack = three_frames();
        let record = record_of(stack.left(11, 2, NO_FRAME));
        for limit in 1..=3 {
            let mut visits = 0;
            let end = stack.walker(&record).walk(&mut |_| {
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

    #[test]
    fn several_interpreters_are_walked_as_several_stacks() {
        let stacks = [three_frames(), three_frames()];
        let records = [0, 1].map(|index| record_of(stacks[index].left(11, 2, NO_FRAME)));
        let walkers = [0, 1].map(|index| stacks[index].walker(&records[index]));
        // SAFETY: these are all records, and iterating over an array runs no other code.
        let all = unsafe { StacksWalker::new(&walkers) };
        let (frames, end) = walk(&all);
        let new: Vec<bool> = frames.iter().map(|frame| frame.new_stack).collect();
        assert_eq!(new, [true, false, false, true, false, false]);
        assert_eq!(end, WalkEnd::Complete);
        assert!(all.proves_end());
    }
}
