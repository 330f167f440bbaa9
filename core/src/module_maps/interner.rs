//! Storing equal stack maps once.

use super::error::RegisterError;
use super::lists::{sort_by, with_capacity};
use crate::stack_map::StackMap;
use alloc::vec::Vec;

/// Sorts `maps`, drops the repeated ones, and tells where each one went.
///
/// Sorting takes n log n comparisons whatever the maps are: no guest can
/// choose maps that make it slow, as it could with a hash that it knows.
pub(super) fn intern(maps: Vec<StackMap>) -> Result<Interned, RegisterError> {
    let count = u32::try_from(maps.len()).map_err(|_| RegisterError::OutOfMemory)?;
    let mut order = with_capacity(maps.len())?;
    order.extend(0..count);
    let map = |index: u32| &maps[index as usize];
    sort_by(&mut order, |&a, &b| map(a).content_cmp(map(b)).is_le())?;
    let mut places = with_capacity(maps.len())?;
    places.resize(maps.len(), 0);
    let runs = || order.chunk_by(|&a, &b| map(a) == map(b));
    for (place, run) in (0..).zip(runs()) {
        for &index in run {
            places[index as usize] = place;
        }
    }
    let mut distinct = with_capacity(runs().count())?;
    drop_repeated(&order, maps, &mut distinct);
    Ok(Interned { distinct, places })
}

/// Each distinct map, and the index among them of each map that was given.
pub(super) struct Interned {
    pub(super) distinct: Vec<StackMap>,
    pub(super) places: Vec<u32>,
}

/// Moves the first of each run of equal maps to `distinct`, which has room for them.
fn drop_repeated(order: &[u32], mut maps: Vec<StackMap>, distinct: &mut Vec<StackMap>) {
    for &index in order {
        let map = core::mem::replace(&mut maps[index as usize], StackMap::EMPTY);
        if distinct.last() != Some(&map) {
            distinct.push(map);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_maps_get_one_place() {
        let map = |words: &[u32]| StackMap::new(Some(100), words.iter().copied()).unwrap();
        let given = [
            map(&[1]),
            map(&[70, 3]),
            map(&[1]),
            map(&[]),
            map(&[3, 70, 3]),
            StackMap::new(None, [1]).unwrap(),
        ];
        let Interned { distinct, places } = intern(given.to_vec()).unwrap();
        assert_eq!(distinct.len(), 4);
        for (map, &place) in given.iter().zip(&places) {
            assert_eq!(distinct[place as usize], *map);
        }
    }
}
