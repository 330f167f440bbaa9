//! Storing equal stack maps once.

use super::NO_MAP;
use super::error::RegisterError;
use super::lists::{Pair, with_capacity};
use crate::stack_map::StackMap;
use alloc::vec::Vec;

/// Numbers the maps of `safepoints` anew, and returns the maps in the order of their new numbers.
///
/// Each safepoint is a code offset and the number of its map in `maps`, or [`NO_MAP`]. The same
/// maps and safepoints get the same new numbers each time.
///
/// Equal maps get one number, unless other maps between them have taken their place in a table:
/// those of neighbours always do. So this takes linear time, whatever maps a guest has. All that
/// their choice can spoil is sharing.
pub(super) fn intern(
    mut maps: Vec<StackMap>,
    safepoints: &mut [Pair],
) -> Result<Vec<StackMap>, RegisterError> {
    let bits = usize::BITS - maps.len().leading_zeros();
    let mut numbers = with_capacity((1 << bits) + 2 * maps.len())?;
    numbers.resize(numbers.capacity(), NO_MAP);
    // New numbers by place, new ones by old ones, and old ones by new ones.
    let (recent, numbers) = numbers.split_at_mut(1 << bits);
    let (new, distinct) = numbers.split_at_mut(maps.len());
    let mut count = 0;
    for (_, number) in safepoints {
        if *number == NO_MAP {
            continue;
        }
        let old = *number as usize;
        let map = &maps[old];
        let place = &mut recent[map.place(bits)];
        if new[old] == NO_MAP {
            new[old] = *place;
            if *place == NO_MAP || maps[distinct[*place as usize] as usize] != *map {
                new[old] = count;
                distinct[count as usize] = *number;
                count += 1;
            }
        }
        // Also of a map that had a number: its neighbour may be equal.
        *place = new[old];
        *number = new[old];
    }
    let mut list = with_capacity(count as usize)?;
    for &old in &distinct[..count as usize] {
        list.push(core::mem::replace(&mut maps[old as usize], StackMap::EMPTY));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(words: &[u32]) -> StackMap {
        StackMap::new(Some(1000), words.iter().copied()).unwrap()
    }

    /// The maps that are stored, and the number of each of those that were given.
    fn interned(given: &[StackMap]) -> (Vec<StackMap>, Vec<u32>) {
        let mut safepoints: Vec<Pair> = (0..).zip(0..).take(given.len()).collect();
        let distinct = intern(given.to_vec(), &mut safepoints).unwrap();
        (distinct, safepoints.iter().map(|pair| pair.1).collect())
    }

    #[test]
    fn equal_maps_get_one_number() {
        let given = [
            map(&[1]),
            map(&[1]),
            map(&[70, 3]),
            map(&[3, 70, 3]),
            map(&[]),
            StackMap::new(None, [1]).unwrap(),
        ];
        let (distinct, numbers) = interned(&given);
        assert_eq!(distinct.len(), 4);
        for (map, number) in given.iter().zip(numbers) {
            assert_eq!(distinct[number as usize], *map);
        }
    }

    #[test]
    fn safepoints_may_share_a_map_or_have_none() {
        let mut safepoints = [(5, 1), (7, NO_MAP), (9, 0), (11, 1)];
        let distinct = intern(vec![map(&[1]), map(&[2])], &mut safepoints).unwrap();
        assert_eq!(safepoints, [(5, 0), (7, NO_MAP), (9, 1), (11, 0)]);
        assert_eq!(distinct, [map(&[2]), map(&[1])]);
        assert_eq!(intern(vec![], &mut [(7, NO_MAP)]), Ok(vec![]));
    }

    /// Safepoints of one offset would contradict each other.
    #[test]
    fn neighbours_that_are_equal_have_one_number() {
        let others = (0..500).map(|word| map(&[word]));
        let maps: Vec<_> = others.chain([map(&[600]), map(&[600])]).collect();
        let in_between = (0..500).map(|index| (index + 2, index));
        let neighbours = [(1, 500), (600, 500), (600, 501)];
        let mut safepoints: Vec<Pair> = neighbours.into_iter().chain(in_between).collect();
        safepoints.sort_unstable();
        intern(maps, &mut safepoints).unwrap();
        let [.., first, second] = safepoints[..] else {
            unreachable!("there are many")
        };
        assert_eq!(first, second);
    }

    /// A module has many more safepoints than maps that differ, in any order.
    #[test]
    fn most_equal_maps_are_shared() {
        let given: Vec<_> = (0..10_000_u32)
            .map(|index| map(&[index * 7919 % 10_000 % 500]))
            .collect();
        let (distinct, numbers) = interned(&given);
        // Two that share a place are stored again each time that they alternate.
        assert!(distinct.len() < 2000, "{}", distinct.len());
        for (map, number) in given.iter().zip(numbers) {
            assert_eq!(distinct[number as usize], *map);
        }
    }
}
