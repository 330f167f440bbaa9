//! The thread that guests run on, with a stack of known bounds.

use crate::error::EngineError;
use crate::panics::describe;
use core::hint::black_box;
use core::ops::Range;
use std::thread;

/// Bytes of stack that the host needs below the guest's limit and above the guest's first frame.
///
/// The compiler, destructors and collections use it. Untouched pages take no memory.
pub(crate) const HOST_SHARE: usize = 8 << 20;

/// Runs `body` on a new thread with `guest_bytes` bytes of stack for guests.
///
/// `body` gets the range of addresses that holds all of its frames.
pub fn on_guest_stack<R: Send>(
    guest_bytes: usize,
    body: impl FnOnce(Range<usize>) -> R + Send,
) -> Result<R, EngineError> {
    let bytes = guest_bytes.saturating_add(HOST_SHARE);
    thread::scope(|scope| {
        let guest = thread::Builder::new()
            .name("guest".to_owned())
            .stack_size(bytes)
            .spawn_scoped(scope, move || {
                let top = 0_usize;
                let end = black_box(&raw const top).addr();
                let result = below(body, end.saturating_sub(bytes)..end);
                // Keeps the call above from being a tail call: this frame stays while `body` runs.
                black_box(&top);
                result
            })
            .map_err(EngineError::NoThread)?;
        guest
            .join()
            .map_err(|payload| EngineError::HostPanic(describe(&*payload)))
    })
}

/// Calls `body` in frames below the caller's.
#[inline(never)]
fn below<R>(body: impl FnOnce(Range<usize>) -> R, stack: Range<usize>) -> R {
    body(stack)
}

#[cfg(test)]
mod tests {
    use super::on_guest_stack;
    use crate::error::EngineError;

    #[test]
    fn frames_lie_within_the_bounds() {
        let inside = on_guest_stack(1 << 20, |bounds| {
            let local = 0_u8;
            bounds.contains(&(&raw const local).addr())
        });
        assert!(inside.unwrap());
    }

    #[test]
    fn a_panic_is_an_error() {
        let outcome = on_guest_stack(1 << 20, |_| panic!("no luck"));
        assert!(
            matches!(outcome, Err::<(), _>(EngineError::HostPanic(message)) if message == "no luck")
        );
    }
}
