//! Calls that the host makes on stacks of their own.

use corosensei::on_stack;
use corosensei::stack::{DefaultStack, Stack};
use vmexternref_engine_runtime::Store;

/// Bytes in a stack, and those of them that Wasm leaves to the host.
const BYTES: usize = 1 << 20;
const HOST_SHARE: usize = 512 << 10;

/// Calls `f` on a new stack, which the store knows for as long.
///
/// # Panics
///
/// If there is no memory, or `f` panics.
///
/// # Safety
///
/// The store's walker is its own.
pub(crate) unsafe fn on_new_stack<R>(store: &Store, f: impl FnOnce() -> R) -> R {
    let mut stack = DefaultStack::new(BYTES).expect("there is memory");
    let bounds = stack.limit().get()..stack.base().get();
    let known = store
        .add_stack(bounds, HOST_SHARE)
        .expect("there is memory");
    // SAFETY: `f` runs on that stack, comes back before the handle and the stack go, and is never
    // suspended; the caller guarantees the walker.
    unsafe { known.run(|| on_stack(&mut stack, f)) }
}
