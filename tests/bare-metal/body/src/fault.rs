//! Faults that the tests must find, compiled in by the environment variable `BREAK`.

use alloc::rc::Rc;
use core::hint::black_box;
use core::ops::ControlFlow;
use vmexternref_core::{Frame, StackWalker, WalkEnd};
use vmexternref_engine_runtime::{Store, WeakStore};

/// The fault to plant, as `BREAK` named it when this was compiled.
const FAULT: Option<&str> = option_env!("BREAK");

/// Removes one reference from each stack map of the section if `BREAK=stack-map`.
///
/// The section has the format of `wasmtime-environ`, in words of four bytes: the number of maps,
/// the code offset of each map, the position of each map, and the maps.
pub(crate) fn break_stack_maps(section: &mut [u8]) {
    if FAULT != Some("stack-map") {
        return;
    }
    let (words, _) = section.as_chunks_mut::<4>();
    let word = |words: &[[u8; 4]], at: usize| u32::from_le_bytes(words[at]) as usize;
    let maps = if words.is_empty() { 0 } else { word(words, 0) };
    for map in 0..maps {
        // The bitmaps follow the frame size and the number of bitmaps.
        let mut bitmap = 1 + 2 * maps + word(words, 1 + maps + map) + 2;
        while word(words, bitmap) == 0 {
            bitmap += 1;
        }
        let live = u32::from_le_bytes(words[bitmap]);
        words[bitmap] = (live & (live - 1)).to_le_bytes();
    }
}

/// Calls itself until the stack is used up if `BREAK=stack-overflow`.
pub(crate) fn overflow_the_stack() {
    if FAULT == Some("stack-overflow") {
        deepen(1);
    }
}

#[inline(never)]
fn deepen(depth: usize) -> usize {
    let frame = black_box([depth; 16]);
    if frame[0] == 0 {
        0
    } else {
        deepen(depth + 1) + black_box(frame)[1]
    }
}

/// Makes collections of `store` skip every second frame if `BREAK=lost-root`.
pub(crate) fn lose_roots(store: &Store) {
    if FAULT == Some("lost-root") {
        store.set_walker(Rc::new(Forgetful(store.downgrade())));
    }
}

/// Skips every second frame, and claims a complete walk.
struct Forgetful(WeakStore);

// SAFETY: the frames that it visits are real; it breaks the promise of completeness on purpose, as
// `BREAK` asks.
unsafe impl StackWalker for Forgetful {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        let Some(store) = self.0.upgrade() else {
            return WalkEnd::Complete;
        };
        let mut overlooked = true;
        store.activations().walk(&mut |frame| {
            overlooked = !overlooked;
            if overlooked {
                ControlFlow::Continue(())
            } else {
                visit(frame)
            }
        })
    }
}
