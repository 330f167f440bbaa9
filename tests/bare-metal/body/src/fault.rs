//! Faults that the tests must find, put in where the environment variable `BREAK` asked for one.

use alloc::boxed::Box;
use core::ops::ControlFlow;
use vmexternref_core::{Frame, StackWalker, WalkEnd};
use vmexternref_engine_runtime::{Store, WeakStore};
use vmexternref_frame_pointer::ActivationsWalker;

/// What was asked for when this was compiled.
const FAULT: Option<&str> = option_env!("BREAK");

/// Takes one reference out of each stack map of the section if `BREAK=stack-map`.
///
/// The section is laid out as `wasmtime-environ` writes it: how many maps, a code offset for each, where each is,
/// and the maps, in words of four bytes.
pub(crate) fn break_stack_maps(section: &mut [u8]) {
    if FAULT != Some("stack-map") {
        return;
    }
    let (words, _) = section.as_chunks_mut::<4>();
    let word = |words: &[[u8; 4]], at: usize| u32::from_le_bytes(words[at]) as usize;
    let maps = if words.is_empty() { 0 } else { word(words, 0) };
    for map in 0..maps {
        // Behind the frame's size and the number of bitmaps.
        let mut bitmap = 1 + 2 * maps + word(words, 1 + maps + map) + 2;
        while word(words, bitmap) == 0 {
            bitmap += 1;
        }
        let live = u32::from_le_bytes(words[bitmap]);
        words[bitmap] = (live & (live - 1)).to_le_bytes();
    }
}

/// Makes collections of `store` overlook every second frame if `BREAK=lost-root`.
pub(crate) fn lose_roots(store: &Store) {
    if FAULT == Some("lost-root") {
        store.set_walker(Box::new(Forgetful(store.downgrade())));
    }
}

/// Overlooks every second frame, and claims to have seen them all.
struct Forgetful(WeakStore);

// SAFETY: it breaks its promise of completeness, which is what `BREAK` asks for; what it shows is true.
unsafe impl StackWalker for Forgetful {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        let Some(store) = self.0.upgrade() else {
            return WalkEnd::Complete;
        };
        let mut overlooked = true;
        ActivationsWalker::new(store.record()).walk(&mut |frame| {
            overlooked = !overlooked;
            if overlooked {
                ControlFlow::Continue(())
            } else {
                visit(frame)
            }
        })
    }
}
