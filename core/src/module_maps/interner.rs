//! Storing equal stack maps once.

use super::error::RegisterError;
use super::lists::{Pair, merge_sort, with_capacity};
use crate::stack_map::StackMap;
use alloc::vec::Vec;

/// Sorts `maps`, drops the repeated ones, and tells where each one went.
///
/// Sorting takes n log n comparisons whatever the maps are: no guest can
/// choose maps that make it slow, as it could with a hash that it knows.
pub(super) fn intern(mut maps: Vec<StackMap>) -> Result<Interned, RegisterError> {
    let count = u32::try_from(maps.len()).map_err(|_| RegisterError::OutOfMemory)?;
    // First the index of a map, in the order of maps; second the place of the map of that index.
    let mut order: Vec<Pair> = with_capacity(maps.len())?;
    order.extend((0..count).map(|index| (index, 0)));
    let compare = |a: u32, b: u32| maps[a as usize].content_cmp(&maps[b as usize]);
    merge_sort(&mut order, &|a, b| compare(a.0, b.0).is_le())?;
    let mut distinct = 0;
    for at in 0..order.len() {
        let index = order[at].0;
        if at == 0 || compare(order[at - 1].0, index).is_ne() {
            distinct += 1;
        }
        order[index as usize].1 = distinct - 1;
    }
    let mut list = with_capacity(distinct as usize)?;
    for &(index, _) in &order {
        if list.len() == order[index as usize].1 as usize {
            let map = &mut maps[index as usize];
            list.push(core::mem::replace(map, StackMap::EMPTY));
        }
    }
    Ok(Interned {
        distinct: list,
        places: order,
    })
}

/// Each distinct map, and where the maps that were given went.
pub(super) struct Interned {
    pub(super) distinct: Vec<StackMap>,
    places: Vec<Pair>,
}

impl Interned {
    /// The index among the distinct maps of the map that was given at `index`, if one was.
    pub(super) fn place(&self, index: u32) -> Option<u32> {
        self.places.get(index as usize).map(|pair| pair.1)
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
        let interned = intern(given.to_vec()).unwrap();
        assert_eq!(interned.distinct.len(), 4);
        for (map, index) in given.iter().zip(0..) {
            let place = interned.place(index).unwrap() as usize;
            assert_eq!(interned.distinct[place], *map);
        }
    }
}
