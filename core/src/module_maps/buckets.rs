//! A sorted map from code offsets to small numbers, laid out for a cold cache.
//!
//! ```text
//!           first                                              last
//!   offsets |--x--x---x--|--x-x---x-x-|------x-----|xxxxxxxxxx--x|
//!                 |            |             |            |
//!   buckets | 3 pairs    | 4 pairs    | 1 pair     | crowded: ---|--.
//!                                                                  V
//!   crowd                                         | 11 sorted pairs |
//! ```
//!
//! Buckets are as wide in code as they must be for four pairs each on average,
//! so that their number follows that of the pairs, and not the size of the
//! code. A bucket with more pairs than it holds refers to a slice of sorted
//! pairs: no choice of offsets makes a search longer than a binary search.

use super::error::RegisterError;
use super::lists::{reserve, with_capacity};
use alloc::vec::Vec;
use core::hint;

/// Offsets and values side by side, so that a lookup reads one cache line as a rule.
///
/// Collections look return addresses up that they have not seen for long, and
/// wait for memory more than for anything else. 0 is no offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    scale: Scale,
    buckets: Vec<Bucket>,
    /// The pairs of crowded buckets.
    crowd: Vec<(u32, u32)>,
}

/// Which bucket an offset belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scale {
    /// The lowest offset.
    first: u32,
    /// Buckets per byte of code, times 2 to the 32nd; less than 1.
    density: u32,
}

impl Scale {
    /// Lets the offsets from `first` to `last` fall into `count` buckets, of which there are not
    /// more than bytes.
    ///
    /// It divides words of 32 bits, as every processor can: a quotient that is rounded down leaves
    /// one of 64 buckets empty in code of 64 MiB, and fewer in less.
    fn new(first: u32, last: u32, count: u32) -> Self {
        let bytes = (last - first).saturating_add(1);
        let density = u32::MAX / bytes * count;
        Self { first, density }
    }

    /// The bucket of `offset`; it may lie behind the last one.
    #[inline]
    fn home(self, offset: u32) -> Option<usize> {
        let distance = u64::from(offset.checked_sub(self.first)?);
        let home = (distance * u64::from(self.density)) >> 32;
        usize::try_from(home).ok()
    }
}

/// Numbers that are compared at once.
const LANES: usize = 8;

/// Pairs that a bucket has room for: the last lane is for the crowd.
const ROOM: usize = LANES - 1;

/// Pairs in a bucket on average.
const FILL: usize = 4;

/// One cache line; free places hold the offset 0.
///
/// In the last lane are the number of pairs in the crowd and where they begin. The number is 0 if
/// all pairs are here, so that the lane compares as a free place does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
struct Bucket {
    offsets: [u32; LANES],
    values: [u32; LANES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    const EMPTY: Self = Self {
        offsets: [0; LANES],
        values: [0; LANES],
    };
}

impl Buckets {
    /// A map of `pairs`, whose offsets rise and are not 0.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "offsets have 32 bits, so there are not more pairs"
    )]
    pub(super) fn new(pairs: &[(u32, u32)]) -> Result<Self, RegisterError> {
        debug_assert!(
            pairs.is_sorted_by(|a, b| a.0 < b.0) && pairs.first().is_none_or(|pair| pair.0 != 0),
            "no call returns to the start of the code, and each returns elsewhere"
        );
        let (Some(&(first, _)), Some(&(last, _))) = (pairs.first(), pairs.last()) else {
            return Ok(Self::EMPTY);
        };
        let count = if pairs.len() <= ROOM {
            1
        } else {
            pairs.len().div_ceil(FILL)
        };
        let scale = Scale::new(first, last, count as u32);
        let mut map = Self {
            scale,
            buckets: with_capacity(count)?,
            crowd: Vec::new(),
        };
        map.buckets.extend((0..count).map(|_| Bucket::EMPTY));
        let mut rest = pairs;
        while let Some(home) = rest.first().and_then(|pair| scale.home(pair.0)) {
            let here = |pair: &&(u32, u32)| scale.home(pair.0) == Some(home);
            let (run, others) = rest.split_at(rest.iter().take_while(here).count());
            map.fill(home, run)?;
            rest = others;
        }
        Ok(map)
    }

    const EMPTY: Self = Self {
        scale: Scale {
            first: 0,
            density: 0,
        },
        buckets: Vec::new(),
        crowd: Vec::new(),
    };

    /// Stores the pairs of the bucket at `home`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "offsets have 32 bits, so there are not more pairs"
    )]
    fn fill(&mut self, home: usize, run: &[(u32, u32)]) -> Result<(), RegisterError> {
        let bucket = &mut self.buckets[home];
        if run.len() > ROOM {
            bucket.offsets[ROOM] = run.len() as u32;
            bucket.values[ROOM] = self.crowd.len() as u32;
            reserve(&mut self.crowd, run.len())?;
            self.crowd.extend_from_slice(run);
            return Ok(());
        }
        let places = bucket.offsets.iter_mut().zip(&mut bucket.values);
        for ((offset, value), pair) in places.zip(run) {
            (*offset, *value) = *pair;
        }
        Ok(())
    }

    #[inline]
    pub(super) fn get(&self, offset: u32) -> Option<u32> {
        self.search(offset, || ())
    }

    /// Looks `offset` up, and calls `step` for each place outside its bucket that it compares with.
    #[inline]
    fn search(&self, offset: u32, mut step: impl FnMut()) -> Option<u32> {
        let bucket = self.buckets.get(self.scale.home(offset)?)?;
        let (len, start) = (bucket.offsets[ROOM] as usize, bucket.values[ROOM] as usize);
        if len == 0 {
            // At most one is the same. It compares with all, so that there is nothing to predict.
            let (mut found, mut value) = (false, 0);
            for (&there, &its_value) in bucket.offsets.iter().zip(&bucket.values) {
                let same = there == offset;
                found |= same;
                value = hint::select_unpredictable(same, its_value, value);
            }
            return (found && offset != 0).then_some(value);
        }
        let crowd = &self.crowd[start..start + len];
        let found = crowd.binary_search_by(|pair| {
            step();
            pair.0.cmp(&offset)
        });
        found.ok().map(|index| crowd[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    fn build(offsets: &[u32]) -> Buckets {
        let pairs: Vec<_> = offsets.iter().map(|&at| (at, at / 3)).collect();
        Buckets::new(&pairs).unwrap()
    }

    /// Finds all `offsets` and says how many places the longest search outside its bucket compared
    /// with.
    fn longest_search(map: &Buckets, offsets: &[u32]) -> u32 {
        let steps = Cell::new(0);
        let search = |&offset: &u32| {
            steps.set(0);
            let found = map.search(offset, || steps.set(steps.get() + 1));
            assert_eq!(found, Some(offset / 3));
            steps.get()
        };
        offsets.iter().map(search).max().unwrap_or(0)
    }

    fn bytes(map: &Buckets) -> usize {
        size_of_val(&map.buckets[..]) + size_of_val(&map.crowd[..])
    }

    #[test]
    fn every_offset_is_found_and_no_other() {
        let most = if cfg!(miri) { 20 } else { 1000 };
        for len in [0, 1, 2, 7, 8, 9, 100, 1000].map(|len| most.min(len)) {
            for step in [2, 24, 1 << 21] {
                let offsets: Vec<u32> = (1..).step_by(step).take(len).collect();
                let map = build(&offsets);
                for offset in offsets {
                    assert_eq!(map.get(offset), Some(offset / 3));
                    assert_eq!(map.get(offset + 1), None);
                    assert_eq!(map.get(offset - 1), None);
                }
                assert_eq!((map.get(0), map.get(u32::MAX)), (None, None));
            }
        }
    }

    #[test]
    fn the_whole_range_of_offsets_can_be_used() {
        let offsets = [1, 2, 3, 4, 5, 6, 7, u32::MAX - 1, u32::MAX];
        assert_eq!(longest_search(&build(&offsets), &offsets), 0);
        let dense: Vec<u32> = (1..=64).collect();
        assert_eq!(longest_search(&build(&dense), &dense), 0);
    }

    #[test]
    fn any_sorted_offsets_are_found_in_linear_memory() {
        arbtest::arbtest(|u| {
            let mut offsets: Vec<u32> = u.arbitrary()?;
            let bits = u.int_in_range(0..=31)?;
            offsets.iter_mut().for_each(|offset| *offset >>= bits);
            offsets.retain(|&offset| offset != 0);
            offsets.sort_unstable();
            offsets.dedup();
            let map = build(&offsets);
            let limit = 2 + offsets.len().checked_ilog2().unwrap_or(0);
            assert!(longest_search(&map, &offsets) <= limit);
            assert!(bytes(&map) <= 64 + 24 * offsets.len());
            let other: u32 = u.arbitrary()?;
            assert_eq!(map.get(other).is_some(), offsets.contains(&other));
            Ok(())
        });
    }

    /// Where the hash map that was here before began its search for `offset`.
    fn old_home(offset: u32) -> usize {
        let word = u64::from(offset) ^ 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(word) * 0xd6e8_feb8_6659_fd93;
        let folded = (product & u128::from(u64::MAX)) ^ (product >> 64);
        usize::try_from((folded >> 32) & 0xffff).unwrap()
    }

    /// Call sites that a guest could choose so that each lookup of the former
    /// hash map searched through thousands of them.
    #[test]
    #[cfg_attr(miri, ignore = "it looks up twenty thousand offsets")]
    fn call_sites_that_collided_are_found_at_once() {
        let offsets: Vec<u32> = (1..24 << 20).filter(|&at| old_home(at) < 52).collect();
        assert!(offsets.len() > 19_000, "{} offsets collide", offsets.len());
        let map = build(&offsets);
        assert!(longest_search(&map, &offsets) <= 5);
        assert!(bytes(&map) <= 24 * offsets.len());
    }

    #[test]
    #[cfg_attr(miri, ignore = "it looks up twenty thousand offsets")]
    fn call_sites_that_crowd_one_bucket_are_searched_by_halves() {
        let mut offsets: Vec<u32> = (1..=20_000).collect();
        offsets.push(u32::MAX);
        let map = build(&offsets);
        assert!(longest_search(&map, &offsets) <= 16);
        assert!(bytes(&map) <= 24 * offsets.len() + 64);
    }
}
