//! The two ends of a long sequence.

use std::collections::VecDeque;

/// Keeps the first and the last items of a sequence, as many as their weights allow.
#[derive(Clone, Debug)]
pub(super) struct Ends<T> {
    first: Vec<T>,
    /// What the first items may still weigh.
    room: usize,
    /// The last items, each with its weight.
    last: VecDeque<(usize, T)>,
    last_weight: usize,
    half: usize,
    left_out: usize,
}

impl<T> Ends<T> {
    /// Keeps items that weigh at most `weight` together; one half for each end.
    pub(super) fn new(weight: usize) -> Self {
        Self {
            first: Vec::new(),
            room: weight / 2,
            last: VecDeque::new(),
            last_weight: 0,
            half: weight / 2,
            left_out: 0,
        }
    }

    /// Adds the next item.
    pub(super) fn push(&mut self, weight: usize, item: T) {
        if self.last.is_empty() && self.left_out == 0 && weight <= self.room {
            self.room -= weight;
            self.first.push(item);
            return;
        }
        self.last.push_back((weight, item));
        self.last_weight += weight;
        while self.last_weight > self.half {
            let Some((weight, _)) = self.last.pop_front() else {
                break;
            };
            self.last_weight -= weight;
            self.left_out += 1;
        }
    }

    /// Items in the middle that were not kept.
    pub(super) fn left_out(&self) -> usize {
        self.left_out
    }

    /// The items that were kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first
            .iter()
            .chain(self.last.iter().map(|(_, item)| item))
    }
}

#[cfg(test)]
mod tests {
    use super::Ends;

    #[test]
    fn the_middle_is_left_out() {
        let mut ends = Ends::new(6);
        (0..10).for_each(|item| ends.push(1, item));
        assert_eq!(ends.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 7, 8, 9]);
        assert_eq!(ends.left_out(), 4);
    }

    #[test]
    fn an_item_that_is_too_heavy_is_left_out() {
        let mut ends = Ends::new(6);
        for (weight, item) in [(2, 'a'), (9, 'b'), (1, 'c'), (2, 'd'), (2, 'e')] {
            ends.push(weight, item);
        }
        assert_eq!(ends.iter().collect::<String>(), "ae");
        assert_eq!(ends.left_out(), 3);
    }
}
