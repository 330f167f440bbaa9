//! The entries of a table as a set: what a collection that verifies asks.

use crate::activations_table::VMExternRefActivationsTable;
use crate::registry::mix;
use hashbrown::HashTable;

/// The addresses of a table's entries.
pub(crate) struct EntrySet<'t> {
    table: &'t VMExternRefActivationsTable,
    /// `None` without memory: then each question goes through the table.
    set: Option<HashTable<usize>>,
}

impl<'t> EntrySet<'t> {
    pub(crate) fn new(table: &'t VMExternRefActivationsTable) -> Self {
        let mut set = HashTable::new();
        let hash = |&word: &usize| mix(word as u64);
        if set.try_reserve(table.len(), hash).is_err() {
            return Self { table, set: None };
        }
        table.for_each(|entry| {
            let word = entry.as_raw().addr();
            let _ = set
                .entry(hash(&word), |&other| other == word, hash)
                .or_insert(word);
        });
        Self {
            table,
            set: Some(set),
        }
    }

    pub(crate) fn contains(&self, word: usize) -> bool {
        if let Some(set) = &self.set {
            return set.find(mix(word as u64), |&other| other == word).is_some();
        }
        let mut found = false;
        self.table
            .for_each(|entry| found |= entry.as_raw().addr() == word);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::EntrySet;
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
                set: None,
            },
        ] {
            assert!(set.contains(inside.as_raw().addr()));
            assert!(!set.contains(VMExternRef::new(2).as_raw().addr()));
        }
    }
}
