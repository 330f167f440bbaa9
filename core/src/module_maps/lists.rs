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
/// A heap sort is little code, and needs no memory: the standard library's sorts are faster, and
/// 6 KiB of it. Machines without an operating system have little room.
#[inline(never)]
pub(crate) fn sort(list: &mut [Pair]) {
    if list.is_sorted_by(in_order) {
        return;
    }
    // Each root from the last one on gets its place, until all is a heap. Then the greatest pair,
    // which is the first, goes behind the others again and again.
    let mut unsorted = list.len();
    let mut root = unsorted / 2;
    while unsorted > 1 {
        if root > 0 {
            root -= 1;
        } else {
            unsorted -= 1;
            list.swap(0, unsorted);
        }
        sift_down(&mut list[..unsorted], root);
    }
}

/// Moves the pair at `root` down until those below it, at twice its index and 1 or 2 more, are not
/// after it.
#[inline]
fn sift_down(heap: &mut [Pair], mut root: usize) {
    loop {
        let mut below = 2 * root + 1;
        match heap.get(below..) {
            None | Some([]) => return,
            Some([left, right, ..]) if in_order(left, right) => below += 1,
            Some(_) => {}
        }
        if in_order(&heap[below], &heap[root]) {
            return;
        }
        heap.swap(root, below);
        root = below;
    }
}

fn in_order(a: &Pair, b: &Pair) -> bool {
    let number = |pair: &Pair| u64::from(pair.0) << 32 | u64::from(pair.1);
    number(a) <= number(b)
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
            sort(&mut list);
            assert_eq!(list, expected);
            Ok(())
        })
        .budget_ms(200);
    }
}
