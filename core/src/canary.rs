//! Stack canaries: how far a walk has to come.
//!
//! Each call into Wasm puts a canary into a frame of the host, and links it into the table's chain
//! for as long as the call runs. A walk *passes* a canary when it goes from a frame below the
//! canary to a frame above it, both of one stack. A walk that passed every canary has seen every
//! Wasm frame of the table.
//!
//! ```text
//!   one stack, higher addresses on the right         the table's chain
//!
//!   Wasm   host [canary 2]   Wasm   host [canary 1]      youngest --> canary 2 --> canary 1
//!   -------- the walk goes this way -------->
//! ```

use core::cell::Cell;
use core::ops::Range;
use core::ptr;

/// A mark in the frame that calls Wasm, which a walk has to come past.
///
/// A walk *passes* a canary when it goes from a frame that lies below the canary to one that lies
/// above it, both of one stack. So canaries are for frames on the native stack.
///
/// Made by [`with_stack_canary`](crate::VMExternRefActivationsTable::with_stack_canary), or by
/// hand for [`set_stack_canary`](crate::VMExternRefActivationsTable::set_stack_canary).
///
/// ```
/// use vmexternref_core::{StackCanary, VMExternRefActivationsTable};
///
/// let table = VMExternRefActivationsTable::new();
/// let canary = StackCanary::new();
/// // SAFETY: the guard goes before the canary does.
/// let guard = unsafe { table.set_stack_canary(&canary) };
/// // Here compiled code is called, and may collect.
/// drop(guard);
/// ```
#[derive(Debug)]
pub struct StackCanary {
    younger: Cell<*const Self>,
    older: Cell<*const Self>,
    passed: Cell<bool>,
}

impl StackCanary {
    /// A canary that is in no chain.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            younger: Cell::new(ptr::null()),
            older: Cell::new(ptr::null()),
            passed: Cell::new(false),
        }
    }

    fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// The canary that was linked before this one, of those that are linked now.
    fn older(&self) -> Option<&Self> {
        // SAFETY: whoever linked a canary guarantees that it is unlinked before it goes.
        unsafe { self.older.get().as_ref() }
    }
}

impl Default for StackCanary {
    fn default() -> Self {
        Self::new()
    }
}

/// The canaries of one table, youngest first.
#[derive(Debug)]
pub(crate) struct CanaryChain {
    youngest: Cell<*const StackCanary>,
    /// Whether there has ever been a canary.
    used: Cell<bool>,
}

impl CanaryChain {
    pub(crate) const fn new() -> Self {
        Self {
            youngest: Cell::new(ptr::null()),
            used: Cell::new(false),
        }
    }

    pub(crate) fn was_used(&self) -> bool {
        self.used.get()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.youngest.get().is_null()
    }

    /// Links `canary` until the result is dropped, whatever others do meanwhile.
    ///
    /// # Safety
    ///
    /// The result is dropped before `canary` goes.
    #[inline]
    pub(crate) unsafe fn link<'a>(&'a self, canary: &'a StackCanary) -> Link<'a> {
        let older = self.youngest.replace(canary);
        canary.older.set(older);
        canary.younger.set(ptr::null());
        // SAFETY: whoever linked `older` guarantees that it is unlinked before it goes.
        if let Some(older) = unsafe { older.as_ref() } {
            older.younger.set(canary);
        }
        self.used.set(true);
        Link {
            chain: self,
            canary,
        }
    }

    #[inline]
    fn unlink(&self, canary: &StackCanary) {
        let (younger, older) = (canary.younger.get(), canary.older.get());
        // SAFETY: whoever linked the neighbours guarantees that they are unlinked before they go.
        let (of_younger, of_older) = unsafe { (younger.as_ref(), older.as_ref()) };
        let holder = of_younger.map_or(&self.youngest, |younger| &younger.older);
        holder.set(older);
        if let Some(of_older) = of_older {
            of_older.younger.set(younger);
        }
    }

    /// Unlinks each canary that lies in `stack`, a range of addresses.
    ///
    /// # Safety
    ///
    /// The [`Link`]s of these canaries are never dropped.
    pub(crate) unsafe fn discard(&self, stack: &Range<usize>) {
        // Unlinking leaves a canary's own words alone, so the iterator goes on from there.
        let gone = self
            .iter()
            .filter(|canary| stack.contains(&canary.address()));
        gone.for_each(|canary| self.unlink(canary));
    }

    fn iter(&self) -> impl Iterator<Item = &StackCanary> {
        // SAFETY: whoever linked a canary guarantees that it is unlinked before it goes.
        let youngest = unsafe { self.youngest.get().as_ref() };
        core::iter::successors(youngest, |canary| canary.older())
    }
}

/// Keeps a canary linked.
#[derive(Debug)]
pub(crate) struct Link<'a> {
    chain: &'a CanaryChain,
    canary: &'a StackCanary,
}

impl Drop for Link<'_> {
    #[inline]
    fn drop(&mut self) {
        self.chain.unlink(self.canary);
    }
}

/// Finds out which canaries one walk passes.
pub(crate) struct Coverage<'c> {
    chain: &'c CanaryChain,
    /// Canaries that were not passed yet.
    left: usize,
    /// Whether all were passed, and there was one.
    whole: bool,
    /// Where the frame visited before is; `usize::MAX` if there is none on this stack.
    younger: usize,
    /// The lowest canary above `younger` that was not passed, and its address or `usize::MAX`.
    next: Option<&'c StackCanary>,
    next_address: usize,
    /// Whether each canary of the chain lies above the one before, as on a single stack.
    rises: bool,
}

impl<'c> Coverage<'c> {
    /// Begins a walk. There is one at a time.
    #[inline]
    pub(crate) fn new(chain: &'c CanaryChain) -> Self {
        let mut coverage = Self {
            chain,
            left: 0,
            whole: false,
            // Where there is no canary, it does not matter on which stack a frame lies.
            younger: 0,
            next: None,
            next_address: usize::MAX,
            rises: true,
        };
        if !chain.is_empty() {
            coverage.expect_all();
        }
        coverage
    }

    /// Looks for every canary of the chain.
    #[inline(never)]
    fn expect_all(&mut self) {
        let canaries = self.chain.iter();
        self.left = canaries.inspect(|canary| canary.passed.set(false)).count();
        self.younger = usize::MAX;
        self.rises = self.chain.iter().is_sorted_by_key(StackCanary::address);
    }

    /// Takes in the next frame of the walk: where it is, if that is known.
    ///
    /// `false` asks for [`pass_canaries`](Self::pass_canaries) instead, as it does for each frame
    /// once every canary was passed. Where no canary lies between, it does not matter whether the
    /// frame is on another stack.
    #[inline]
    pub(crate) fn pass(&mut self, place: Option<usize>) -> bool {
        let place = place.unwrap_or(usize::MAX);
        let nothing_between = self.younger <= place && place <= self.next_address;
        if nothing_between {
            self.younger = place;
            return true;
        }
        false
    }

    /// Whether every canary was passed, and there was one.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Takes in a frame that lies next to no visited frame on its stack, or above a canary.
    #[cold]
    pub(crate) fn pass_canaries(&mut self, place: Option<usize>, new_stack: bool) {
        let place = place.unwrap_or(usize::MAX);
        if new_stack || place < self.younger {
            self.expect(self.lowest_from(place));
        } else {
            self.pass_canaries_below(place);
        }
        self.younger = place;
        if self.whole {
            self.next_address = 0;
        }
    }

    fn pass_canaries_below(&mut self, place: usize) {
        // A frame at an unknown place lies above nothing.
        while let Some(canary) = self.next.filter(|canary| canary.address() < place)
            && place != usize::MAX
        {
            canary.passed.set(true);
            self.left -= 1;
            self.whole = self.left == 0;
            self.expect(if self.rises {
                canary.older()
            } else {
                self.lowest_from(canary.address())
            });
        }
    }

    fn expect(&mut self, next: Option<&'c StackCanary>) {
        self.next = next;
        self.next_address = next.map_or(usize::MAX, StackCanary::address);
    }

    /// The lowest canary at or above `place` that was not passed.
    fn lowest_from(&self, place: usize) -> Option<&'c StackCanary> {
        let ahead = self.chain.iter().filter(|canary| !canary.passed.get());
        ahead
            .filter(|canary| place <= canary.address())
            .min_by_key(|canary| canary.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// A chain of canaries with addresses that rise with their index.
    struct Stack {
        canaries: Vec<StackCanary>,
    }

    /// What a walk visits: a place, and whether another stack begins there.
    type Step = (usize, bool);

    impl Stack {
        fn new(canaries: usize) -> Self {
            let canaries = (0..canaries).map(|_| StackCanary::new()).collect();
            Self { canaries }
        }

        /// The place of a frame that lies just below the canary.
        fn below(&self, canary: usize) -> Step {
            (self.canaries[canary].address() - 1, false)
        }

        /// The place of a frame that lies just above the canary.
        fn above(&self, canary: usize) -> Step {
            (self.canaries[canary].address() + 1, false)
        }

        /// Whether a walk passes every canary of a chain that was linked in this order.
        fn is_covered(&self, linked: &[usize], steps: &[Step]) -> bool {
            let chain = CanaryChain::new();
            // SAFETY: the links go at the end of this function, before the canaries.
            let link = |&canary: &usize| unsafe { chain.link(&self.canaries[canary]) };
            let _links: Vec<_> = linked.iter().map(link).collect();
            let mut coverage = Coverage::new(&chain);
            for &(place, new_stack) in steps {
                take_in(&mut coverage, Some(place), new_stack);
            }
            coverage.is_whole()
        }
    }

    /// Takes in a frame as a walk does.
    fn take_in(coverage: &mut Coverage<'_>, place: Option<usize>, new_stack: bool) {
        if !coverage.pass(place) {
            coverage.pass_canaries(place, new_stack);
        }
    }

    #[test]
    fn a_canary_must_lie_between_two_frames() {
        let stack = Stack::new(3);
        let (below, above) = (stack.below(1), stack.above(1));
        let at = (stack.canaries[1].address(), false);
        for (steps, covered) in [
            (&[below, above][..], true),
            (&[at, above], true),
            (&[below, at], false),
            (&[above], false),
            (&[below], false),
            (&[above, stack.above(2)], false),
            (&[above, below], false),
            (&[above, below, above], true),
        ] {
            assert_eq!(stack.is_covered(&[1], steps), covered, "{steps:x?}");
        }
        assert!(!stack.is_covered(&[], &[below, above]), "there is none");
    }

    #[test]
    fn every_canary_of_the_chain_must_be_passed() {
        let stack = Stack::new(3);
        let walk = |upto| -> Vec<_> {
            (0..upto)
                .flat_map(|i| [stack.below(i), stack.above(i)])
                .collect()
        };
        // On one stack the youngest canary, linked last, is the lowest.
        let linked = [2, 1, 0];
        assert!(stack.is_covered(&linked, &walk(3)));
        assert!(
            !stack.is_covered(&linked, &walk(2)),
            "the outermost is missing"
        );
        assert!(
            !stack.is_covered(&linked, &walk(3)[2..]),
            "the innermost is missing"
        );
        let ends = [stack.below(0), stack.above(2)];
        assert!(
            stack.is_covered(&linked, &ends),
            "one step passes all three"
        );
    }

    /// Stack A has canaries 0 and 2, stack B has 1; no order of entries confuses them.
    #[test]
    fn a_walk_over_several_stacks_passes_the_canaries_of_each() {
        // Both stacks are made-up pieces of the same memory: below 3 is A, from 3 on is B.
        let stack = Stack::new(6);
        let a = [stack.below(0), stack.above(0), stack.above(1)];
        let b = [(stack.below(3).0, true), stack.above(3), stack.above(4)];
        for linked in [[0, 1, 3, 4], [4, 3, 1, 0], [3, 0, 4, 1], [1, 4, 0, 3]] {
            let both = [&a[..], &b].concat();
            assert!(stack.is_covered(&linked, &both), "{linked:?}");
            let other_order = [&b[..], &[(a[0].0, true)], &a[1..]].concat();
            assert!(stack.is_covered(&linked, &other_order), "{linked:?}");
            assert!(!stack.is_covered(&linked, &a), "{linked:?}");
            assert!(!stack.is_covered(&linked, &b), "{linked:?}");
        }
    }

    /// Defect: the walk went on from a lower to a higher stack, and the canaries between counted.
    #[test]
    fn a_step_to_another_stack_passes_nothing() {
        let stack = Stack::new(3);
        let jump = |new_stack| [stack.below(0), (stack.above(2).0, new_stack)];
        assert!(!stack.is_covered(&[1], &jump(true)));
        assert!(stack.is_covered(&[1], &jump(false)), "one stack");
    }

    #[test]
    fn a_frame_at_an_unknown_place_passes_nothing() {
        let stack = Stack::new(1);
        let chain = CanaryChain::new();
        // SAFETY: the link goes before the canary.
        let _link = unsafe { chain.link(&stack.canaries[0]) };
        let mut coverage = Coverage::new(&chain);
        take_in(&mut coverage, Some(stack.below(0).0), false);
        take_in(&mut coverage, None, false);
        take_in(&mut coverage, Some(stack.above(0).0), false);
        assert!(!coverage.is_whole());
    }

    #[test]
    fn links_may_go_in_any_order() {
        let stack = Stack::new(3);
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let chain = CanaryChain::new();
            assert!(!chain.was_used());
            // SAFETY: the links go before the canaries.
            let link = |canary| unsafe { chain.link(canary) };
            let mut links: Vec<_> = stack.canaries.iter().map(link).map(Some).collect();
            let mut left: Vec<_> = (0..3).rev().collect();
            for index in order {
                links[index] = None;
                left.retain(|&other| other != index);
                let linked: Vec<_> = chain.iter().map(StackCanary::address).collect();
                let expected = left.iter().map(|&index| stack.canaries[index].address());
                assert_eq!(linked, expected.collect::<Vec<_>>());
            }
            assert!(chain.is_empty() && chain.was_used());
        }
    }

    #[test]
    fn a_stack_that_is_thrown_away_takes_its_canaries_along() {
        let stack = Stack::new(5);
        let at = |index: usize| stack.canaries[index].address();
        for (gone, left) in [
            (at(1)..at(3), &[0, 3, 4][..]),
            (at(0)..at(2), &[2, 3, 4]),
            (at(3)..at(4) + 1, &[0, 1, 2]),
            (at(2)..at(2), &[0, 1, 2, 3, 4]),
            (0..usize::MAX, &[]),
        ] {
            let chain = CanaryChain::new();
            // SAFETY: the links go before the canaries.
            let link = |canary| unsafe { chain.link(canary) };
            let links: Vec<_> = stack.canaries.iter().map(link).collect();
            // SAFETY: the links of these canaries are forgotten below.
            unsafe { chain.discard(&gone) };
            let linked: Vec<_> = chain.iter().map(StackCanary::address).collect();
            let expected: Vec<_> = left.iter().rev().map(|&index| at(index)).collect();
            assert_eq!(linked, expected, "{gone:x?}");
            for link in links {
                if gone.contains(&link.canary.address()) {
                    core::mem::forget(link);
                }
            }
            assert!(chain.is_empty());
        }
    }
}
