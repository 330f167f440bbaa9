//! Memory of dead boxes that is kept, so that a late use of one can be told.
//!
//! A collection cannot see a reference that no stack map declares live, or that nobody counted:
//! its box is freed while compiled code still uses it. Builds with debug assertions, and builds
//! with the feature `quarantine`, keep the memory of the boxes that died last. Their counts say
//! that they are dead, and each use that passes through the library looks at the count.

use core::ptr::NonNull;
use spin::Mutex;

/// Whether this build has a quarantine.
pub(crate) const CHECKS: bool = cfg!(any(debug_assertions, feature = "quarantine"));

/// Boxes that the quarantine can hold; without one it has no memory to speak of.
const CAPACITY: usize = if CHECKS { 1024 } else { 1 };

/// Boxes that it holds before anybody has set a limit.
///
/// Miri sees late uses itself, if the memory is freed.
const INITIAL_LIMIT: usize = if CHECKS && !cfg!(miri) { 256 } else { 0 };

/// Bytes of the largest box that is kept.
const LARGEST: usize = 1024;

static QUARANTINE: Mutex<Ring> = Mutex::new(Ring {
    boxes: [None; CAPACITY],
    limit: INITIAL_LIMIT,
    oldest: 0,
    len: 0,
});

/// A box that is dead and destroyed, and whose memory is still allocated.
#[derive(Clone, Copy)]
pub(crate) struct Retired(pub(crate) NonNull<u8>);

// SAFETY: nobody but the quarantine may use a retired box, and it only keeps its address.
unsafe impl Send for Retired {}

struct Ring {
    boxes: [Option<Retired>; CAPACITY],
    limit: usize,
    oldest: usize,
    len: usize,
}

impl Ring {
    /// Takes the oldest box out, if there are more than `at_most`.
    fn evict(&mut self, at_most: usize) -> Option<Retired> {
        if self.len <= at_most {
            return None;
        }
        let evicted = self.boxes[self.oldest].take();
        self.oldest = (self.oldest + 1) % CAPACITY;
        self.len -= 1;
        evicted
    }

    /// Puts a box in. There is room.
    fn push(&mut self, retired: Retired) {
        self.boxes[(self.oldest + self.len) % CAPACITY] = Some(retired);
        self.len += 1;
    }
}

/// Keeps a dead box of `bytes` bytes, and gives back the box that has to be freed now.
///
/// A box that is too large is given back itself. So is one that comes while another thread, or
/// the code that this one interrupted, is in here: nobody waits.
pub(crate) fn retire(retired: Retired, bytes: usize) -> Option<Retired> {
    if bytes > LARGEST {
        return Some(retired);
    }
    let Some(mut ring) = QUARANTINE.try_lock() else {
        return Some(retired);
    };
    let Some(room_for_others) = ring.limit.checked_sub(1) else {
        return Some(retired);
    };
    let evicted = ring.evict(room_for_others);
    ring.push(retired);
    evicted
}

/// Whether the dead box at `address` is kept, as far as can be told without waiting.
pub(crate) fn holds(address: usize) -> bool {
    let Some(ring) = QUARANTINE.try_lock() else {
        return false;
    };
    let mut kept = ring.boxes.iter().flatten();
    kept.any(|Retired(data)| data.addr().get() == address)
}

/// Limits the quarantine to `boxes`, and gives one box back that has to be freed for that.
///
/// Says the limit that holds when no box is left to free. It waits for other threads.
pub(crate) fn limit(boxes: usize) -> Result<usize, Retired> {
    let mut ring = QUARANTINE.lock();
    ring.limit = if CHECKS { boxes.min(CAPACITY) } else { 0 };
    let limit = ring.limit;
    ring.evict(limit).map_or(Ok(limit), Err)
}
