//! An architecture whose host frames have no records that a walker knows.

use crate::error::EngineError;
use core::ops::Range;
use std::rc::Rc;
use vmexternref_core::StackWalker;
use vmexternref_engine_runtime::Store;

/// Stands for the walker that does not exist here.
pub(super) struct HostFrames;

impl HostFrames {
    /// Refuses, as a host without frame pointers does.
    pub(super) fn walker(_: &Store, _: Range<usize>) -> Result<Rc<dyn StackWalker>, EngineError> {
        Err(EngineError::NoFramePointers)
    }
}
