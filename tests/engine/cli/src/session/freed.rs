//! What the collections of a session freed, all together.

use core::cell::Cell;
use std::rc::Rc;

/// Counts collections, and what they freed; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Freed {
    counts: Rc<Cell<(usize, u64)>>,
}

impl Freed {
    /// Counts a collection that freed so many objects.
    pub(crate) fn add(&self, objects: usize) {
        let (collections, before) = self.counts.get();
        self.counts.set((collections + 1, before + objects as u64));
    }

    /// Who freed how many of the `made` objects, of which some are `alive`, as a sentence; `None`
    /// if there was no collection, or no object.
    pub(crate) fn sentence(&self, made: u64, alive: u64) -> Option<String> {
        let (collections, freed) = self.counts.get();
        let others = made.saturating_sub(alive).saturating_sub(freed);
        let plural = if collections == 1 { "" } else { "s" };
        (collections != 0 && made != 0).then(|| {
            format!(
                "{made} made, {freed} freed by {collections} collection{plural}, \
                 {others} freed when their last holder gave them up"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Freed;

    #[test]
    fn objects_are_summed_up_where_there_was_a_collection() {
        let freed = Freed::default();
        assert_eq!(freed.sentence(1, 1), None);
        freed.clone().add(2);
        assert_eq!(freed.sentence(0, 0), None);
        freed.add(3);
        let sentence =
            "9 made, 5 freed by 2 collections, 3 freed when their last holder gave them up";
        assert_eq!(freed.sentence(9, 1).as_deref(), Some(sentence));
    }
}
