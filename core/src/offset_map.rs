//! A read-only hash map from code offsets to small numbers, laid out for a cold cache.

use crate::registry::mix;
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// Keys and values side by side, so that a lookup reads one cache line as a rule.
///
/// Collections look return addresses up that they have not seen for long, and
/// wait for memory more than for anything else. At most half of the slots are
/// taken, by linear probing, so that every search ends. 0 is no key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OffsetMap {
    /// A power of two of them.
    slots: Vec<(u32, u32)>,
}

/// What a free slot holds.
const FREE: (u32, u32) = (0, 0);

impl OffsetMap {
    /// A map with room for `len` keys.
    pub(crate) fn with_capacity(len: usize) -> Result<Self, TryReserveError> {
        let wanted = len.saturating_mul(2).max(2);
        let capacity = wanted.checked_next_power_of_two().unwrap_or(usize::MAX);
        let mut slots = Vec::new();
        slots.try_reserve_exact(capacity)?;
        slots.resize(capacity, FREE);
        Ok(Self { slots })
    }

    /// Adds a key that is not there yet, and for which there is room.
    pub(crate) fn insert(&mut self, key: u32, value: u32) {
        debug_assert_ne!(key, FREE.0, "no call returns to the start of the code");
        let mask = self.slots.len() - 1;
        let mut place = home(key);
        while self.slots[place & mask] != FREE {
            place = place.wrapping_add(1);
        }
        self.slots[place & mask] = (key, value);
    }

    #[inline]
    pub(crate) fn get(&self, key: u32) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut place = home(key);
        loop {
            let (found, value) = self.slots[place & mask];
            if found == key {
                return (key != FREE.0).then_some(value);
            }
            if found == FREE.0 {
                return None;
            }
            place = place.wrapping_add(1);
        }
    }
}

/// Where the search for `key` begins, not yet within the map.
#[inline]
fn home(key: u32) -> usize {
    // As many bits as any map can use.
    (mix(u64::from(key)) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::OffsetMap;

    #[test]
    fn every_key_is_found_and_no_other() {
        for len in [0, 1, 2, 3, 100, 1000] {
            let mut map = OffsetMap::with_capacity(len).unwrap();
            let keys = || (1..).step_by(24).take(len);
            for key in keys() {
                map.insert(key, key / 3);
            }
            for key in keys() {
                assert_eq!(map.get(key), Some(key / 3));
                assert_eq!(map.get(key + 1), None);
            }
            assert_eq!((map.get(0), map.get(u32::MAX)), (None, None));
        }
    }

    #[test]
    fn no_memory_is_an_error() {
        assert!(OffsetMap::with_capacity(usize::MAX).is_err());
    }
}
