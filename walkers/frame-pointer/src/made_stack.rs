//! For unit tests: arrays that play stacks.

use crate::activation::{Activation, Saved};
use crate::layout::ActivationRecord;
use crate::record::{RecordLayout, WORD};
use core::ops::ControlFlow;
use core::ptr;
use std::vec::Vec;
use vmexternref_core::{Frame, StackWalker, WalkEnd};

/// What compiled code keeps here for each frame.
const RECORD: RecordLayout = RecordLayout::OF_COMPILED_CODE;

/// Bytes between two places of a [`Stack`]: every record takes two.
const STEP: usize = RECORD.size / 2;

/// Words that play the stack, at an address that may be read.
#[repr(align(16))]
pub(crate) struct Stack([usize; 32 * STEP / WORD]);

impl Stack {
    /// Makes a stack of frame records, given as (place, place its frame pointer leads to, pc).
    pub(crate) fn new(records: &[(usize, usize, usize)]) -> std::boxed::Box<Self> {
        let mut stack = std::boxed::Box::new(Self([0xbad; 32 * STEP / WORD]));
        let base = (&raw const stack.0).addr();
        for &(place, older, pc) in records {
            let record = place * STEP;
            stack.0[record / WORD] = base + older * STEP;
            stack.0[(record + RECORD.return_address) / WORD] = pc;
        }
        stack
    }

    /// The address of a place.
    pub(crate) fn at(&self, place: usize) -> usize {
        self.0.as_ptr().expose_provenance() + place * STEP
    }

    pub(crate) fn activation(&self, exit: usize, exit_pc: usize, entry: usize) -> Activation {
        Activation {
            exit_pc,
            exit_fp: self.at(exit),
            entry_fp: self.at(entry),
        }
    }

    /// A frame, given by its `pc`, the place after its callee's record, and that of its own.
    pub(crate) fn frame(&self, pc: usize, above: usize, fp: usize) -> Frame {
        let sp = self.at(above) - RECORD.size + RECORD.caller_sp;
        Frame::of_compiled_code(pc, Some(sp), Some(self.at(fp)))
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

/// What `enter` keeps while nothing was entered.
const OUTERMOST: &Saved = &Saved {
    activation: Activation {
        exit_pc: 0,
        exit_fp: 0,
        entry_fp: 0,
    },
    older: ptr::null(),
};

/// A record that says one activation, as within one `enter`.
pub(crate) fn record_of(activation: Activation) -> ActivationRecord {
    let record = ActivationRecord::new();
    record.set_youngest(activation);
    record.older.set(OUTERMOST);
    record
}

/// `enter`, for closures that play the part of compiled code.
pub(crate) fn enter<R>(record: &ActivationRecord, f: impl FnOnce() -> R) -> R {
    // SAFETY: the tests record addresses within a `Stack` that outlives the walk.
    unsafe { record.enter(f) }
}
