//! Walking host frames by their frame pointers.

use crate::error::EngineError;
use core::ops::{ControlFlow, Range};
use std::rc::Rc;
use std::sync::Arc;
use vmexternref_core::{Frame, StackMapRegistry, StackWalker, WalkEnd};
use vmexternref_engine_runtime::Store;
use vmexternref_frame_pointer::{CurrentFrameWalker, host_has_frame_pointers};

/// Walks from the current frame. It exists only where the probe found frame pointers.
pub(super) struct HostFrames {
    registry: Arc<StackMapRegistry>,
    stack: Range<usize>,
}

impl HostFrames {
    /// The walker for `store`, whose guests run on `stack`.
    pub(super) fn walker(
        store: &Store,
        stack: Range<usize>,
    ) -> Result<Rc<dyn StackWalker>, EngineError> {
        if !host_has_frame_pointers() {
            return Err(EngineError::NoFramePointers);
        }
        let registry = Arc::clone(store.registry());
        Ok(Rc::new(Self { registry, stack }))
    }
}

// SAFETY: `CurrentFrameWalker` keeps the contract.
unsafe impl StackWalker for HostFrames {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        // SAFETY: the probe found frame pointers in this build, which compiled every host frame
        // between Wasm and here, and `on_guest_stack` gave bounds that end at a local of its frame.
        unsafe { CurrentFrameWalker::new(&self.registry, self.stack.clone()) }.walk(visit)
    }
}
