//! The entries of a table as a set: which words a collection that verifies may touch.

use crate::activations_table::VMExternRefActivationsTable;
use crate::hash;
use alloc::vec::Vec;

/// The addresses of a table's entries.
pub(crate) struct EntrySet<'t> {
    table: &'t VMExternRefActivationsTable,
    /// A power of two, at least half of them 0: each address stands at the first place from its
    /// own on that no other had taken. Empty without memory: then each question goes through
    /// the table.
    places: Vec<usize>,
}

impl<'t> EntrySet<'t> {
    #[inline(never)]
    pub(crate) fn new(table: &'t VMExternRefActivationsTable) -> Self {
        let mut set = Self {
            table,
            places: Vec::new(),
        };
        // The allocator may insert into the table, so that there are more entries than before.
        while set.places.len() < 2 * table.len() {
            let wanted = 2 << (usize::BITS - table.len().leading_zeros());
            set.places = Vec::new();
            if set.places.try_reserve_exact(wanted).is_err() {
                return set;
            }
            set.places.resize(wanted, 0);
        }
        table.for_each(|entry| {
            let word = entry.as_raw().addr();
            let place = set.place_of(word);
            set.places[place] = word;
        });
        set
    }

    pub(crate) fn contains(&self, word: usize) -> bool {
        if !self.places.is_empty() {
            return self.places[self.place_of(word)] == word;
        }
        let mut found = false;
        self.table
            .for_each(|entry| found |= entry.as_raw().addr() == word);
        found
    }

    /// Where `word` stands, or would stand.
    fn place_of(&self, word: usize) -> usize {
        let mut place = hash::place(word, self.places.len().trailing_zeros());
        while self.places[place] != word && self.places[place] != 0 {
            place = (place + 1) % self.places.len();
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::{EntrySet, Vec};
    use crate::{VMExternRef, VMExternRefActivationsTable};

    #[test]
    fn without_memory_the_table_itself_answers() {
        let table = VMExternRefActivationsTable::new();
        let inside = VMExternRef::new(1);
        table.insert_without_gc(inside.clone());
        for set in [
            EntrySet::new(&table),
            EntrySet {
                table: &table,
                places: Vec::new(),
            },
        ] {
            assert!(set.contains(inside.as_raw().addr()));
            assert!(!set.contains(VMExternRef::new(2).as_raw().addr()));
        }
    }
}
