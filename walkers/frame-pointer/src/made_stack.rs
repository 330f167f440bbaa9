//! For unit tests: arrays that play stacks.

use crate::activation::Activation;
use crate::chain::WORD;
use crate::layout::ActivationRecord;
use core::ops::ControlFlow;
use std::vec::Vec;
use vmexternref_core::{Frame, StackWalker, WalkEnd};

/// Words that play the stack, at an address that may be read.
#[repr(align(16))]
pub(crate) struct Stack([usize; 32]);

impl Stack {
    /// Makes a stack of frame records, given as (word, word its frame pointer leads to, pc).
    pub(crate) fn new(records: &[(usize, usize, usize)]) -> std::boxed::Box<Self> {
        let mut stack = std::boxed::Box::new(Self([0xbad; 32]));
        let base = (&raw const stack.0).addr();
        for &(word, older, pc) in records {
            stack.0[word] = base + older * WORD;
            stack.0[word + 1] = pc;
        }
        stack
    }

    pub(crate) fn at(&self, word: usize) -> usize {
        self.0.as_ptr().expose_provenance() + word * WORD
    }

    pub(crate) fn activation(&self, exit: usize, exit_pc: usize, entry: usize) -> Activation {
        Activation {
            exit_pc,
            exit_fp: self.at(exit),
            entry_fp: self.at(entry),
        }
    }

    pub(crate) fn frame(&self, pc: usize, sp: usize, fp: usize) -> Frame {
        Frame::new(pc, Some(self.at(sp)), Some(self.at(fp))).of_compiled_code()
    }
}

/// What `walker` visits, and how that ends.
pub(crate) fn walk(walker: &impl StackWalker) -> (Vec<Frame>, WalkEnd) {
    let mut frames = Vec::new();
    let end = walker.walk(&mut |frame| {
        frames.push(frame);
        ControlFlow::Continue(())
    });
    (frames, end)
}

/// A record that says one activation.
pub(crate) fn record_of(activation: Activation) -> ActivationRecord {
    let record = ActivationRecord::new();
    record.set_youngest(activation);
    record
}

/// `enter`, for closures that play the part of compiled code.
pub(crate) fn enter<R>(record: &ActivationRecord, f: impl FnOnce() -> R) -> R {
    // SAFETY: the tests record addresses within a `Stack` that outlives the walk.
    unsafe { record.enter(f) }
}
