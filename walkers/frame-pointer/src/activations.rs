//! The walker that starts where compiled code says it left Wasm.

use crate::activation::Activation;
use crate::chain::{Chain, ChainEnd};
use crate::layout::ActivationRecord;
use crate::record::RecordLayout;
use core::ops::{ControlFlow, Range};
use core::ptr;
use vmexternref_core::{Frame, StackWalker, WalkEnd};

/// What compiled code keeps here for each frame.
const RECORD: RecordLayout = RecordLayout::OF_COMPILED_CODE;

/// Walks the Wasm frames of every activation of one record.
///
/// The walk is `Complete` when each activation's chain of frame records led from its exit
/// trampoline to its entry trampoline, and each activation lies above the one inside it. Anything
/// else is `Stopped`, with the reason: also compiled code that was entered while no
/// [`enter`](ActivationRecord::enter) ran. A nested call without its own `enter` cannot be told: it
/// overwrites what the record said of the outer one, whose references are then freed.
///
/// Host frames are neither visited nor read, so it does not matter how the host was compiled. Each
/// visited frame is [surely one of compiled code](Frame::compiled): a collection keeps everything
/// if one lies in no registered module.
///
/// `Complete` is said of one record. If compiled code holds references of one table on several
/// stacks, a collection needs [`StacksWalker`](crate::StacksWalker).
///
/// What trampolines do, done by hand on an array that stands for a stack:
///
/// ```
/// # if cfg!(target_arch = "s390x") {
/// #     return; // Records look different there.
/// # }
/// use core::ops::ControlFlow;
/// use vmexternref_core::{StackWalker, WalkEnd};
/// use vmexternref_frame_pointer::{ActivationRecord, ActivationsWalker, RecordOffsets};
///
/// const WORD: usize = size_of::<usize>();
/// let mut stack = [0_usize; 10];
/// let base = (&raw const stack).addr();
/// // The exit trampoline's frame record, one Wasm frame's, and the entry trampoline's.
/// (stack[0], stack[1]) = (base + 4 * WORD, 0x1111);
/// (stack[4], stack[5]) = (base + 8 * WORD, 0x2222);
/// // The walk reads the stack as compiled code writes it: by address.
/// (&raw const stack).expose_provenance();
///
/// let record = ActivationRecord::new();
/// let store = |offset: u8, word: usize| {
///     let field = std::ptr::from_ref(&record).cast_mut().wrapping_byte_add(usize::from(offset));
///     // SAFETY: `RecordOffsets` gives the offset of a `Cell<usize>` inside the record.
///     unsafe { field.cast::<usize>().write(word) }
/// };
/// let mut seen = Vec::new();
/// let entry_trampoline = || {
///     store(RecordOffsets::HOST.entry_fp(), base + 8 * WORD);
///     store(RecordOffsets::HOST.exit_fp(), base);
///     store(RecordOffsets::HOST.exit_pc(), 0x1111);
///     ActivationsWalker::new(&record).walk(&mut |frame| {
///         seen.push((frame.pc, frame.sp, frame.fp));
///         ControlFlow::Continue(())
///     })
/// };
/// // SAFETY: `entry_trampoline` is one call, and leaves it as an exit trampoline would.
/// let end = unsafe { record.enter(entry_trampoline) };
/// assert_eq!(end, WalkEnd::Complete);
/// assert_eq!(seen, [(0x1111, Some(base + 2 * WORD), Some(base + 4 * WORD))]);
/// ```
#[derive(Clone, Debug)]
pub struct ActivationsWalker<'r> {
    record: &'r ActivationRecord,
    stack: Range<usize>,
}

impl<'r> ActivationsWalker<'r> {
    /// A walker over the activations of `record`.
    ///
    /// Whoever let compiled code write to the record answers for what its trampolines write: the
    /// walk reads the stack between each `exit_fp` and its `entry_fp`.
    #[must_use]
    pub const fn new(record: &'r ActivationRecord) -> Self {
        Self {
            record,
            stack: 0..usize::MAX,
        }
    }

    /// Also refuses to read outside `stack`, the addresses of the stack in use.
    #[must_use]
    pub const fn with_stack(self, stack: Range<usize>) -> Self {
        Self {
            record: self.record,
            stack,
        }
    }

    /// The addresses that `activation`'s records may lie at, if they are a piece of the stack; else
    /// how the walk ends.
    ///
    /// `outside` is whether it was recorded outside of every `enter`.
    // Not inlined, for it is no part of the loop over frames, of which there are several copies.
    #[inline(never)]
    fn bounds(
        &self,
        activation: Activation,
        outside: bool,
        lowest: usize,
    ) -> Result<Range<usize>, WalkEnd> {
        let Activation {
            exit_pc,
            exit_fp,
            entry_fp,
        } = activation;
        let reason = if entry_fp == 0 {
            "no entry trampoline has run"
        } else if outside {
            "Wasm runs outside of `enter`"
        } else if exit_pc == 0 || exit_fp == 0 {
            "no exit trampoline has run"
        } else if exit_fp < lowest || entry_fp <= exit_fp {
            "activations are out of order"
        } else if self.stack.end < entry_fp || self.stack.end - entry_fp < RECORD.size {
            "activations leave the stack"
        } else {
            return Ok(exit_fp..entry_fp);
        };
        Err(WalkEnd::stopped(reason, (exit_pc != 0).then_some(exit_pc)))
    }

    /// Walks, with a visitor that can become part of the loop.
    #[inline(always)]
    pub(crate) fn follow(&self, mut visit: impl FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        let mut lowest = self.stack.start;
        for (activation, outside) in self.record.activations() {
            if activation == Activation::default() {
                continue;
            }
            let bounds = match self.bounds(activation, outside, lowest) {
                Ok(bounds) => bounds,
                Err(end) => return end,
            };
            lowest = bounds.end + RECORD.size;
            let chain = Chain {
                pc: Some(activation.exit_pc),
                record: activation.exit_fp,
                end: activation.entry_fp,
                bounds,
            };
            let end = chain.follow(RECORD, word_of_stack, |link| {
                visit(Frame::of_compiled_code(
                    link.pc,
                    Some(link.sp),
                    Some(link.fp),
                ))
            });
            match end {
                ChainEnd::Reached { .. } => {}
                ChainEnd::Interrupted => return WalkEnd::INTERRUPTED,
                ChainEnd::Broken { reason, last } => {
                    let pc = last.map_or(activation.exit_pc, |link| link.pc);
                    return WalkEnd::stopped(reason.reason(), Some(pc));
                }
            }
        }
        WalkEnd::Complete
    }
}

/// The word at an address of the stack that is being walked.
#[inline]
fn word_of_stack(address: usize) -> Option<usize> {
    let word = ptr::with_exposed_provenance::<usize>(address);
    // SAFETY: the chain asks for aligned words from an exit trampoline's frame up to its entry
    // trampoline's, all of it stack in use, as whoever gave compiled code the record guarantees.
    Some(unsafe { word.read() })
}

// SAFETY: a chain from the exit to the entry trampoline passes the record of every Wasm frame
// between, which compiled code with frame pointers guarantees; `Complete` is said only if every
// chain got there.
unsafe impl StackWalker for ActivationsWalker<'_> {
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
    use super::{ActivationsWalker, RECORD};
    use crate::activation::Activation;
    use crate::layout::ActivationRecord;
    use crate::made_stack::{Stack, enter, record_of, walk};
    use crate::record::WORD;
    use core::ops::ControlFlow;
    use std::string::ToString;
    use std::vec::Vec;
    use vmexternref_core::{StackWalker, WalkEnd};

    /// How a walk ends that stopped at `pc`, for whatever reason.
    fn stopped_at(pc: Option<usize>, end: WalkEnd) -> bool {
        matches!(end, WalkEnd::Stopped { pc: at, .. } if at == pc)
    }

    #[test]
    fn no_activation_is_no_frame_for_certain() {
        let record = ActivationRecord::new();
        let nothing = (Vec::new(), WalkEnd::Complete);
        assert_eq!(walk(&ActivationsWalker::new(&record)), nothing);
        let nested = enter(&record, || {
            enter(&record, || walk(&ActivationsWalker::new(&record)))
        });
        assert_eq!(nested, nothing);
    }

    #[test]
    fn frames_from_exit_to_entry_trampoline() {
        let stack = Stack::new(&[(0, 3, 11), (3, 8, 12), (8, 20, 13)]);
        let record = record_of(stack.activation(0, 11, 20));
        let (frames, end) = walk(&ActivationsWalker::new(&record));
        assert_eq!(end, WalkEnd::Complete);
        assert_eq!(frames, [stack.frame(11, 2, 3), stack.frame(12, 5, 8)]);
    }

    #[test]
    fn an_entry_trampoline_that_calls_an_exit_trampoline_has_no_frames_between() {
        let stack = Stack::new(&[(0, 4, 11)]);
        let record = record_of(stack.activation(0, 11, 4));
        assert_eq!(
            walk(&ActivationsWalker::new(&record)),
            (Vec::new(), WalkEnd::Complete)
        );
    }

    #[test]
    fn nested_activations_are_walked_youngest_first() {
        let stack = Stack::new(&[(0, 3, 11), (3, 8, 12), (12, 15, 21), (15, 20, 22)]);
        let record = record_of(stack.activation(12, 21, 20));
        let (frames, end) = enter(&record, || {
            // A host function that calls no Wasm lies between.
            enter(&record, || {
                record.set_youngest(stack.activation(0, 11, 8));
                walk(&ActivationsWalker::new(&record))
            })
        });
        assert_eq!(end, WalkEnd::Complete);
        assert_eq!(frames, [stack.frame(11, 2, 3), stack.frame(21, 14, 15)]);
    }

    #[test]
    fn a_missing_word_stops_the_walk() {
        let stack = Stack::new(&[(0, 3, 11), (3, 8, 12)]);
        let whole = stack.activation(0, 11, 8);
        let no_exit = Activation {
            entry_fp: whole.entry_fp,
            ..Activation::default()
        };
        for activation in [
            no_exit,
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
        ] {
            let record = record_of(activation);
            let (frames, end) = walk(&ActivationsWalker::new(&record));
            let pc = (activation.exit_pc != 0).then_some(11);
            assert_eq!(frames, [], "{activation:?}");
            assert!(stopped_at(pc, end), "{activation:?} {end}");
            let missing = if activation.entry_fp == 0 {
                "no entry trampoline has run"
            } else {
                "no exit trampoline has run"
            };
            assert!(end.to_string().ends_with(missing), "{activation:?} {end}");
        }
    }

    /// Defect: the walk showed frames of a call that had returned.
    #[test]
    fn an_activation_outside_of_enter_stops_the_walk() {
        let stack = Stack::new(&[(0, 3, 11), (3, 8, 12), (12, 15, 21), (15, 20, 22)]);
        let record = ActivationRecord::new();
        record.set_youngest(stack.activation(12, 21, 20));
        let reason = "Wasm runs outside of `enter`";
        let (frames, end) = walk(&ActivationsWalker::new(&record));
        assert_eq!(frames, []);
        assert!(stopped_at(Some(21), end), "{end}");
        assert!(end.to_string().ends_with(reason), "{end}");
        // The same with a call inside it that is right.
        let (frames, end) = enter(&record, || {
            record.set_youngest(stack.activation(0, 11, 8));
            walk(&ActivationsWalker::new(&record))
        });
        assert_eq!(frames, [stack.frame(11, 2, 3)]);
        assert!(stopped_at(Some(21), end), "{end}");
        assert!(end.to_string().ends_with(reason), "{end}");
    }

    #[test]
    fn an_outer_activation_that_does_not_lie_above_stops_the_walk() {
        let stack = Stack::new(&[
            (0, 3, 11),
            (3, 8, 12),
            (9, 15, 21),
            (12, 15, 21),
            (15, 20, 22),
        ]);
        for (exit, stops) in [(9, true), (12, false)] {
            let record = record_of(stack.activation(exit, 21, 20));
            let (frames, end) = enter(&record, || {
                record.set_youngest(stack.activation(0, 11, 8));
                walk(&ActivationsWalker::new(&record))
            });
            assert_eq!(
                end.is_stopped(),
                stops,
                "outer exit trampoline at word {exit}"
            );
            assert_eq!(end == WalkEnd::Complete, !stops);
            assert_eq!(frames[0], stack.frame(11, 2, 3));
        }
    }

    #[test]
    fn a_broken_chain_stops_the_walk_after_its_sound_part() {
        // The second record leads past the entry trampoline's at word 8, or back.
        for older in [9, 20, 3, 0] {
            let stack = Stack::new(&[(0, 3, 11), (3, older, 12)]);
            let record = record_of(stack.activation(0, 11, 8));
            let (frames, end) = walk(&ActivationsWalker::new(&record));
            assert_eq!(frames, [stack.frame(11, 2, 3)], "leads to word {older}");
            assert!(stopped_at(Some(12), end), "leads to word {older}: {end}");
        }
    }

    #[test]
    fn explicit_bounds_are_kept_to_the_word() {
        let stack = Stack::new(&[(2, 5, 11), (5, 8, 12)]);
        let record = record_of(stack.activation(2, 11, 8));
        let walker = ActivationsWalker::new(&record);
        for (bounds, whole) in [
            (stack.at(2)..stack.at(10), true),
            (stack.at(3)..stack.at(10), false),
            (stack.at(2)..stack.at(10) - 1, false),
            (stack.at(2)..stack.at(7), false),
            (0..0, false),
        ] {
            let (frames, end) = walk(&walker.clone().with_stack(bounds.clone()));
            if whole {
                assert_eq!(end, WalkEnd::Complete, "{bounds:x?}");
                assert_eq!(frames, [stack.frame(11, 4, 5)]);
            } else {
                assert!(stopped_at(Some(11), end), "{bounds:x?}: {end}");
                assert_eq!(frames, []);
            }
        }
    }

    #[test]
    fn addresses_at_the_edge_of_memory_do_not_overflow() {
        let edge = usize::MAX - (WORD - 1);
        for (exit_fp, entry_fp) in [
            (edge - WORD, edge),
            (edge, edge),
            (usize::MAX - 1, usize::MAX),
            (1, edge - RECORD.size),
        ] {
            let record = record_of(Activation {
                exit_pc: 11,
                exit_fp,
                entry_fp,
            });
            let (frames, end) = walk(&ActivationsWalker::new(&record));
            assert_eq!(frames, [], "{exit_fp:#x} {entry_fp:#x}");
            assert!(stopped_at(Some(11), end), "{exit_fp:#x} {entry_fp:#x}");
        }
    }

    #[test]
    fn a_visitor_can_break_and_the_walk_is_then_stopped() {
        let stack = Stack::new(&[(0, 3, 11), (3, 8, 12), (8, 20, 13)]);
        let record = record_of(stack.activation(0, 11, 20));
        let mut visits = 0;
        let end = ActivationsWalker::new(&record).walk(&mut |_| {
            visits += 1;
            ControlFlow::Break(())
        });
        assert_eq!((visits, end), (1, WalkEnd::INTERRUPTED));
    }
}
