//! The safepoints of a module, found by return address.

use super::NO_MAP;
use super::buckets::Buckets;
use super::error::RegisterError;
use super::functions::Functions;
use super::matching::Matching;
use crate::stack_map::StackMap;
use alloc::vec::Vec;

/// Safepoints: a code offset, and the index of its map, or [`NO_MAP`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Safepoints {
    /// By return address; those without live references only where matching is strict.
    Exact(Buckets),
    /// In rising order of offset.
    NearestPreceding(Vec<(u32, u32)>),
}

impl Safepoints {
    /// Checks `list`, whose indices are those of `maps`.
    ///
    /// It is in rising order of offset, and of those with the same offset, safepoints without a map
    /// come last.
    pub(super) fn new(
        matching: Matching,
        mut list: Vec<(u32, u32)>,
        maps: &[StackMap],
        functions: &Functions,
    ) -> Result<Self, RegisterError> {
        let outside = |&(offset, _): &(u32, u32)| {
            // A call begins before where it returns to.
            let begins = u32::from(matching == Matching::NearestPreceding);
            let after = offset.checked_add(begins);
            after
                .and_then(|after| functions.containing(after))
                .is_none()
        };
        if list.iter().any(outside) {
            return Err(RegisterError::OutsideFunctions);
        }
        let mut before = None;
        let mut kept = 0;
        for at in 0..list.len() {
            let (offset, map) = list[at];
            if let Some((same, other)) = before
                && same == offset
            {
                // That nothing is live unless a map says so comes after the maps.
                if map != other && map != NO_MAP {
                    return Err(RegisterError::ConflictingSafepoints);
                }
                continue;
            }
            before = Some((offset, map));
            let live = || maps.get(map as usize).is_some_and(|map| !map.is_empty());
            if matching != Matching::Exact || live() {
                list[kept] = (offset, map);
                kept += 1;
            }
        }
        list.truncate(kept);
        Ok(match matching {
            Matching::Strict | Matching::Exact => Self::Exact(Buckets::new(&list)?),
            Matching::NearestPreceding => Self::NearestPreceding(list),
        })
    }

    /// The index of the map at the return address `offset`.
    #[inline]
    pub(super) fn find(&self, offset: u32, functions: &Functions) -> Option<u32> {
        match self {
            Self::Exact(buckets) => buckets.get(offset),
            Self::NearestPreceding(list) => find_preceding(list, offset, functions),
        }
    }
}

/// The map of the last safepoint before `offset` in the same function.
fn find_preceding(list: &[(u32, u32)], offset: u32, functions: &Functions) -> Option<u32> {
    let (start, _) = functions.containing(offset)?;
    let after = list.partition_point(|&(at, _)| at < offset);
    let &(at, map) = list.get(after.checked_sub(1)?)?;
    (start <= at).then_some(map)
}
