//! Growing lists when memory may be out, and sorting them in little code.

use super::error::RegisterError;
use alloc::vec::Vec;

/// An empty list with room for so many elements.
pub(crate) fn with_capacity<T>(capacity: usize) -> Result<Vec<T>, RegisterError> {
    let mut list = Vec::new();
    list.try_reserve_exact(capacity)
        .map_err(|_| RegisterError::OutOfMemory)?;
    Ok(list)
}

/// Makes room for so many elements more.
pub(crate) fn reserve<T>(list: &mut Vec<T>, additional: usize) -> Result<(), RegisterError> {
    list.try_reserve(additional)
        .map_err(|_| RegisterError::OutOfMemory)
}

/// Appends one element.
pub(crate) fn push<T>(list: &mut Vec<T>, element: T) -> Result<(), RegisterError> {
    reserve(list, 1)?;
    list.push(element);
    Ok(())
}

/// An element of the lists that are sorted: two numbers, such as an offset and an index.
pub(crate) type Pair = (u32, u32);

/// Sorts a list.
///
/// What compilers emit is mostly sorted, and then only looked at.
///
/// A merge sort is little code: the standard library's sorts are faster, and 6 KiB of it. Machines
/// without an operating system have little room.
#[inline(never)]
pub(crate) fn sort(list: &mut Vec<Pair>) -> Result<(), RegisterError> {
    if list.is_sorted_by(in_order) {
        return Ok(());
    }
    let mut merged = with_capacity(list.len())?;
    merged.extend_from_slice(list);
    let mut sorted_run = 1;
    while sorted_run < list.len() {
        let pairs = list.chunks(2 * sorted_run);
        for (pair, merged) in pairs.zip(merged.chunks_mut(2 * sorted_run)) {
            let (left, right) = pair.split_at(sorted_run.min(pair.len()));
            merge(left, right, merged);
        }
        core::mem::swap(list, &mut merged);
        sorted_run *= 2;
    }
    Ok(())
}

fn in_order(a: &Pair, b: &Pair) -> bool {
    let number = |pair: &Pair| u64::from(pair.0) << 32 | u64::from(pair.1);
    number(a) <= number(b)
}

/// Fills `merged` from two sorted lists, whose lengths add up to its own.
fn merge<'l>(mut left: &'l [Pair], mut right: &'l [Pair], merged: &mut [Pair]) {
    for slot in merged {
        let from = match (left.first(), right.first()) {
            (Some(first), Some(other)) if !in_order(first, other) => &mut right,
            (None, _) => &mut right,
            _ => &mut left,
        };
        if let Some((first, rest)) = from.split_first() {
            *slot = *first;
            *from = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_list_is_sorted() {
        arbtest::arbtest(|u| {
            let keys = u.arbitrary::<Vec<u8>>()?;
            let mut list: Vec<Pair> = (keys.iter().rev())
                .zip(&keys)
                .map(|(&a, &b)| (u32::from(a % 16), u32::from(b)))
                .collect();
            let mut expected = list.clone();
            expected.sort_unstable();
            sort(&mut list).unwrap();
            assert_eq!(list, expected);
            Ok(())
        })
        .budget_ms(200);
    }
}
