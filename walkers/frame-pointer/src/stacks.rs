//! The walker over the records of several stacks.

use core::mem;
use core::ops::ControlFlow;
use vmexternref_core::{Frame, StackWalker, WalkEnd};

/// Walks the Wasm frames of several stacks, each with an activation record of its own.
///
/// `S` gives a walker for each stack, such as an [`ActivationsWalker`](crate::ActivationsWalker)
/// with the stack's record and, if the host knows them, its
/// [bounds](crate::ActivationsWalker::with_stack). A slice will do, and so will any iterator that
/// can be cloned. Stacks may be running, suspended or idle, and come in any order. The walk is
/// `Complete` if that of each stack is. It is `Stopped` at the first stack whose frames cannot be
/// walked.
///
/// ```
/// use core::ops::ControlFlow;
/// use vmexternref_core::{StackWalker, WalkEnd};
/// use vmexternref_frame_pointer::{ActivationRecord, ActivationsWalker, StacksWalker};
///
/// struct Coroutine {
///     record: ActivationRecord,
///     stack: core::ops::Range<usize>,
/// }
///
/// let running = ActivationRecord::new();
/// let suspended = vec![Coroutine { record: ActivationRecord::new(), stack: 0x1000..0x9000 }];
/// let others = suspended
///     .iter()
///     .map(|other| ActivationsWalker::new(&other.record).with_stack(other.stack.clone()));
/// let stacks = [ActivationsWalker::new(&running)].into_iter().chain(others);
/// // SAFETY: these are all records, and iterating over them runs no other code.
/// let walker = unsafe { StacksWalker::new(stacks) };
/// assert_eq!(walker.walk(&mut |_| ControlFlow::Continue(())), WalkEnd::Complete);
/// ```
#[derive(Clone, Debug)]
pub struct StacksWalker<S> {
    stacks: S,
}

impl<S> StacksWalker<S>
where
    S: Clone + IntoIterator<Item: StackWalker>,
{
    /// A walker over the activations of all `stacks`.
    ///
    /// # Safety
    ///
    /// Whenever the walker is used,
    ///
    /// - `stacks` gives each stack once on which frames of compiled code may hold references of the
    ///   table in question, and gives the same stacks if asked again;
    /// - each of these stacks still has its memory, and its walker shows this one stack only;
    /// - cloning `stacks` and iterating over it runs no foreign code, and neither allocates nor
    ///   logs, as [`StackWalker`] asks.
    #[must_use]
    pub const unsafe fn new(stacks: S) -> Self {
        Self { stacks }
    }
}

// SAFETY: each stack's walker keeps the contract for it, the caller of `new` guarantees that these
// are all, and `Complete` is said only if each walk was.
unsafe impl<S> StackWalker for StacksWalker<S>
where
    S: Clone + IntoIterator<Item: StackWalker>,
{
    #[inline(always)]
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        for stack in self.stacks.clone() {
            let mut new_stack = true;
            let end = stack.walk(&mut |frame| {
                visit(if mem::take(&mut new_stack) {
                    frame.on_new_stack()
                } else {
                    frame
                })
            });
            if end != WalkEnd::Complete {
                return end;
            }
        }
        WalkEnd::Complete
    }

    #[inline]
    fn proves_end(&self) -> bool {
        let mut stacks = self.stacks.clone().into_iter();
        stacks.all(|stack| stack.proves_end())
    }
}

#[cfg(test)]
mod tests {
    use super::StacksWalker;
    use crate::activation::Activation;
    use crate::activations::ActivationsWalker;
    use crate::layout::ActivationRecord;
    use crate::made_stack::{Stack, enter, record_of, walk};
    use core::ops::ControlFlow;
    use std::boxed::Box;
    use std::vec::Vec;
    use vmexternref_core::{RecordedWalker, StackWalker, WalkEnd};

    /// The walker over all of `stacks`.
    fn over<'s, 'r>(stacks: &'s [ActivationsWalker<'r>]) -> impl StackWalker + use<'s, 'r> {
        // SAFETY: the tests give every record, and iterating over a slice runs no other code.
        unsafe { StacksWalker::new(stacks.iter().cloned()) }
    }

    /// A stack of two frames whose return addresses are `pc` and `pc + 1`.
    fn two_frames(pc: usize) -> Box<Stack> {
        Stack::new(&[(2, 5, pc), (5, 8, pc + 1), (8, 20, pc + 2)])
    }

    /// The record of the frames of [`two_frames`].
    fn record_of_two(stack: &Stack, pc: usize) -> ActivationRecord {
        record_of(stack.activation(2, pc, 20))
    }

    fn pcs(walker: &impl StackWalker) -> (Vec<usize>, WalkEnd) {
        let (frames, end) = walk(walker);
        (frames.iter().map(|frame| frame.pc).collect(), end)
    }

    #[test]
    fn no_stack_and_idle_stacks_are_no_frames_for_certain() {
        let records = [ActivationRecord::new(), ActivationRecord::new()];
        let idle = records.each_ref().map(ActivationsWalker::new);
        for stacks in [&[][..], &idle[..1], &idle] {
            assert_eq!(walk(&over(stacks)), (Vec::new(), WalkEnd::Complete));
        }
    }

    #[test]
    fn the_first_frame_of_each_stack_says_that_its_stack_is_new() {
        let stacks = [11, 21, 31].map(two_frames);
        let records = [0, 1, 2].map(|index| record_of_two(&stacks[index], 10 * index + 11));
        let idle = ActivationRecord::new();
        // In any order of their addresses, and with an idle one between.
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut walkers: Vec<_> = order
                .map(|index| ActivationsWalker::new(&records[index]))
                .into();
            walkers.insert(1, ActivationsWalker::new(&idle));
            let (frames, end) = walk(&over(&walkers));
            assert_eq!(end, WalkEnd::Complete);
            let expected = order.iter().flat_map(|&index| {
                let (stack, pc) = (&stacks[index], 10 * index + 11);
                [
                    stack.frame(pc, 4, 5).on_new_stack(),
                    stack.frame(pc + 1, 7, 8),
                ]
            });
            assert_eq!(frames, expected.collect::<Vec<_>>(), "{order:?}");
        }
    }

    #[test]
    fn nested_activations_of_one_stack_are_no_new_stack() {
        let stack = Stack::new(&[(0, 3, 11), (3, 8, 12), (12, 15, 21), (15, 20, 22)]);
        let record = record_of(stack.activation(12, 21, 20));
        let (frames, end) = enter(&record, || {
            record.set_youngest(stack.activation(0, 11, 8));
            walk(&over(&[ActivationsWalker::new(&record)]))
        });
        assert_eq!(end, WalkEnd::Complete);
        let expected = [
            stack.frame(11, 2, 3).on_new_stack(),
            stack.frame(21, 14, 15),
        ];
        assert_eq!(frames, expected);
    }

    #[test]
    fn each_stack_has_bounds_of_its_own() {
        let stacks = [11, 21].map(two_frames);
        let records = [0, 1].map(|index| record_of_two(&stacks[index], 10 * index + 11));
        let bounds = |index: usize| stacks[index].at(0)..stacks[index].at(22);
        let within = |first, second| {
            let walkers = [(0, first), (1, second)]
                .map(|(index, of)| ActivationsWalker::new(&records[index]).with_stack(bounds(of)));
            pcs(&over(&walkers))
        };
        assert_eq!(within(0, 1), (std::vec![11, 12, 21, 22], WalkEnd::Complete));
        let (frames, end) = within(0, 0);
        assert_eq!(frames, [11, 12]);
        assert!(
            matches!(end, WalkEnd::Stopped { pc: Some(21), .. }),
            "{end}"
        );
        let (frames, end) = within(1, 1);
        assert_eq!(frames, []);
        assert!(
            matches!(end, WalkEnd::Stopped { pc: Some(11), .. }),
            "{end}"
        );
    }

    #[test]
    fn a_stack_that_cannot_be_walked_stops_the_walk() {
        let stacks = [11, 21, 31].map(two_frames);
        let broken = Activation {
            exit_pc: 0,
            ..stacks[1].activation(2, 21, 20)
        };
        let records = [
            record_of_two(&stacks[0], 11),
            record_of(broken),
            record_of_two(&stacks[2], 31),
        ];
        let (frames, end) = pcs(&over(&records.each_ref().map(ActivationsWalker::new)));
        assert_eq!(frames, [11, 12]);
        assert!(end.is_stopped());
    }

    #[test]
    fn a_visitor_can_break_on_any_stack() {
        let stacks = [11, 21].map(two_frames);
        let records = [0, 1].map(|index| record_of_two(&stacks[index], 10 * index + 11));
        let walkers = records.each_ref().map(ActivationsWalker::new);
        for limit in 1..=4 {
            let mut visits = 0;
            let end = over(&walkers).walk(&mut |_| {
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

    /// Suspend, run another, resume, and throw away: the walk shows what there is.
    #[test]
    fn stacks_come_and_go() {
        let stacks = [11, 21].map(two_frames);
        let (context, coroutine) = (ActivationRecord::new(), ActivationRecord::new());
        let walkers = [&context, &coroutine].map(ActivationsWalker::new);
        let seen = || pcs(&over(&walkers)).0;
        // SAFETY: each `enter` ends while the records are as they were when it began.
        let swap = || unsafe { context.swap(&coroutine) };
        enter(&context, || {
            context.set_youngest(stacks[0].activation(2, 11, 20));
            assert_eq!(seen(), [11, 12]);
            swap();
            assert_eq!(seen(), [11, 12], "waits for the coroutine");
            enter(&context, || {
                context.set_youngest(stacks[1].activation(2, 21, 20));
                assert_eq!(seen(), [21, 22, 11, 12]);
                swap();
                assert_eq!(seen(), [11, 12, 21, 22], "the coroutine is suspended");
                let running = [ActivationsWalker::new(&context)];
                assert_eq!(pcs(&over(&running)).0, [11, 12], "it was thrown away");
                swap();
            });
            swap();
            assert_eq!(seen(), [11, 12]);
        });
        assert_eq!(seen(), []);
    }

    #[test]
    fn it_proves_its_end() {
        let records = [ActivationRecord::new()];
        let walkers = records.each_ref().map(ActivationsWalker::new);
        assert!(walkers[0].proves_end() && over(&walkers).proves_end());
    }

    #[test]
    fn it_proves_no_end_that_the_walker_of_a_stack_does_not() {
        // SAFETY: there is no stack with a reference.
        let recorded = unsafe { RecordedWalker::new(Vec::new(), WalkEnd::Unproven) };
        // SAFETY: iterating over an array runs no other code.
        let walker = unsafe { StacksWalker::new([&recorded]) };
        assert!(!walker.proves_end());
        assert_eq!(walk(&walker), (Vec::new(), WalkEnd::Unproven));
    }
}
