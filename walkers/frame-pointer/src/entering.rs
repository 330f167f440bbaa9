//! Nested activations: what an inner call must not overwrite.
//!
//! ```text
//!  ActivationRecord      node of the 2nd `enter`    node of the 1st `enter`
//!  +------------+        +------------------+       +------------------+
//!  | the 2nd    |        | the 1st          |       | nothing: zeros   |
//!  | activation |        | activation       |       |                  |
//!  | older -----+------->| older -----------+------>| older = null     |
//!  +------------+        +------------------+       +------------------+
//! ```
//!
//! A node lives in the stack frame of the `enter` that made it, and is linked for exactly as long
//! as that call runs.

use crate::activation::{Activation, Saved};
use crate::layout::ActivationRecord;
use core::ops::ControlFlow;
use core::ptr;

impl ActivationRecord {
    /// Runs `f`, which calls compiled code, as an activation of its own.
    ///
    /// Keeps what the record says of the activation outside, and puts it back when `f` returns or
    /// panics.
    ///
    /// ```
    /// use vmexternref_frame_pointer::ActivationRecord;
    ///
    /// let record = ActivationRecord::new();
    /// let entry_trampoline = |argument: u64| argument + 1;
    /// // SAFETY: `f` makes one call, and no trampoline writes to this record.
    /// let result = unsafe { record.enter(|| entry_trampoline(41)) };
    /// assert_eq!(result, 42);
    /// ```
    ///
    /// # Safety
    ///
    /// - `f` calls compiled code through an entry trampoline that writes to this record, which
    ///   leaves Wasm through exit trampolines that do, as the crate's documentation describes.
    /// - Once that compiled code has returned, `f` uses no walker over this record: what the
    ///   record then says is stale.
    /// - `f` ends by returning or panicking, before any `enter` outside it does; a host that
    ///   switches stacks has a record for each (see [`swap`](Self::swap)).
    #[inline]
    pub unsafe fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let saved = Saved {
            activation: self.youngest(),
            older: self.older.get(),
        };
        let _restore = Restore {
            record: self,
            saved: &saved,
        };
        self.set_youngest(Activation::default());
        self.older.set(ptr::from_ref(&saved));
        f()
    }

    /// Exchanges what two records say, when a host switches stacks.
    ///
    /// For hosts whose compiled code finds one record in its context, which then is that of the
    /// running stack. `other` belongs to the stack that runs next, and then holds what the record
    /// said of the stack that does not run any more.
    ///
    /// ```
    /// use vmexternref_frame_pointer::ActivationRecord;
    ///
    /// let (in_context, of_coroutine) = (ActivationRecord::new(), ActivationRecord::new());
    /// let resume = || assert!(in_context.is_idle(), "the coroutine has not called Wasm yet");
    /// // SAFETY: the records are exchanged again before `enter` ends, and no trampoline writes to
    /// // them.
    /// unsafe {
    ///     in_context.enter(|| {
    ///         in_context.swap(&of_coroutine);
    ///         resume();
    ///         in_context.swap(&of_coroutine);
    ///     });
    /// }
    /// ```
    ///
    /// # Safety
    ///
    /// - An [`enter`](Self::enter) begins and ends only while the record that it was called on
    ///   holds what belongs to its stack.
    /// - The stack of an `enter` that neither returned nor panicked keeps its memory for as long as
    ///   a walker over either record may be used.
    #[inline]
    pub unsafe fn swap(&self, other: &Self) {
        let youngest = self.youngest();
        self.set_youngest(other.youngest());
        other.set_youngest(youngest);
        self.older.swap(&other.older);
    }

    /// Records where compiled code was entered and left, for code that does not do so itself.
    ///
    /// An interpreter's host does this for its bytecode, inside [`enter`](Self::enter).
    ///
    /// # Safety
    ///
    /// The addresses are what the walkers over this record expect, of calls in progress.
    #[inline]
    pub unsafe fn write(&self, activation: Activation) {
        self.set_youngest(activation);
    }

    /// Visits every activation, youngest first, until `visit` breaks.
    ///
    /// For walkers over stacks of another kind, such as an interpreter's. Activations without Wasm
    /// frames are all zero.
    #[inline]
    pub fn each_activation<B>(
        &self,
        visit: impl FnMut(Activation) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let activations = self.activations();
        activations
            .map(|(activation, _)| activation)
            .try_for_each(visit)
    }

    /// Every activation, youngest first, and whether it lies outside of every `enter`.
    ///
    /// The one outside of all says nothing, unless compiled code was entered without `enter`.
    #[inline]
    pub(crate) fn activations(&self) -> impl Iterator<Item = (Activation, bool)> {
        let mut next = Some((self.youngest(), self.older.get()));
        core::iter::from_fn(move || {
            let (activation, older) = next?;
            // SAFETY: `enter` links a node of its own frame and unlinks it before it returns, and
            // nothing returns while the iterator's owner, called from inside `f`, is at work.
            let saved = unsafe { older.as_ref() };
            next = saved.map(|saved| (saved.activation, saved.older));
            Some((activation, older.is_null()))
        })
    }

    #[inline]
    fn youngest(&self) -> Activation {
        Activation {
            exit_pc: self.exit_pc.get(),
            exit_fp: self.exit_fp.get(),
            entry_fp: self.entry_fp.get(),
        }
    }

    #[inline]
    pub(crate) fn set_youngest(&self, activation: Activation) {
        self.exit_pc.set(activation.exit_pc);
        self.exit_fp.set(activation.exit_fp);
        self.entry_fp.set(activation.entry_fp);
    }
}

/// Puts an outer activation back when dropped.
struct Restore<'a> {
    record: &'a ActivationRecord,
    saved: &'a Saved,
}

impl Drop for Restore<'_> {
    #[inline]
    fn drop(&mut self) {
        self.record.set_youngest(self.saved.activation);
        self.record.older.set(self.saved.older);
    }
}

#[cfg(test)]
mod tests {
    use super::{Activation, ActivationRecord};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::vec::Vec;

    fn numbered(n: usize) -> Activation {
        Activation {
            exit_pc: n,
            exit_fp: 10 * n,
            entry_fp: 100 * n,
        }
    }

    fn all(record: &ActivationRecord) -> Vec<Activation> {
        let activations = record.activations();
        activations.map(|(activation, _)| activation).collect()
    }

    /// `enter`, for closures that play the part of compiled code.
    fn enter<R>(record: &ActivationRecord, f: impl FnOnce() -> R) -> R {
        // SAFETY: the tests only look at the activations as numbers and never walk them.
        unsafe { record.enter(f) }
    }

    #[test]
    fn inner_activations_hide_outer_ones_and_give_them_back() {
        let record = ActivationRecord::new();
        assert_eq!(all(&record), [numbered(0)]);
        let result = enter(&record, || {
            assert_eq!(all(&record), [numbered(0), numbered(0)]);
            record.set_youngest(numbered(1));
            enter(&record, || {
                record.set_youngest(numbered(2));
                assert_eq!(all(&record), [numbered(2), numbered(1), numbered(0)]);
            });
            assert_eq!(all(&record), [numbered(1), numbered(0)]);
            "result"
        });
        assert_eq!(result, "result");
        assert_eq!(all(&record), [numbered(0)]);
    }

    #[test]
    fn records_that_are_swapped_keep_their_activations_together() {
        let (context, coroutine) = (ActivationRecord::new(), ActivationRecord::new());
        // SAFETY: each `enter` ends while the records are as they were when it began.
        let swap = || unsafe { context.swap(&coroutine) };
        enter(&context, || {
            context.set_youngest(numbered(1));
            swap();
            assert!(context.is_idle() && !coroutine.is_idle());
            enter(&context, || {
                context.set_youngest(numbered(2));
                enter(&context, || {
                    context.set_youngest(numbered(3));
                    swap();
                    assert_eq!(all(&context), [numbered(1), numbered(0)]);
                    assert_eq!(
                        all(&coroutine),
                        [numbered(3), numbered(2), numbered(0)],
                        "suspended"
                    );
                    swap();
                });
                assert_eq!(all(&context), [numbered(2), numbered(0)]);
            });
            swap();
            assert_eq!(all(&context), [numbered(1), numbered(0)]);
        });
        assert!(context.is_idle() && coroutine.is_idle());
    }

    #[test]
    fn a_panic_gives_the_outer_activation_back() {
        let record = ActivationRecord::new();
        enter(&record, || {
            record.set_youngest(numbered(1));
            let inner = AssertUnwindSafe(|| {
                enter(&record, || {
                    record.set_youngest(numbered(2));
                    panic!("a host function panics");
                });
            });
            assert!(catch_unwind(inner).is_err());
            assert_eq!(all(&record), [numbered(1), numbered(0)]);
        });
        assert_eq!(all(&record), [numbered(0)]);
    }
}
