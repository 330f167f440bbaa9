//! The entries of a table as a set: which words a collection that verifies may touch.

use crate::activations_table::VMExternRefActivationsTable;
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
        // The allocator may insert into the table, so that there are more entries than before.
        while set.capacity() < table.len() {
            if set.try_reserve(table.len(), hash).is_err() {
                return Self { table, set: None };
            }
        }
        table.for_each(|entry| {
            let word = entry.as_raw().addr();
            set.entry(hash(&word), |&other| other == word, hash)
                .or_insert(word);
        });
        Self {
            table,
            set: Some(set),
        }
    }

    pub(crate) fn contains(&self, word: usize) -> bool {
        if let Some(set) = &self.set {
            return set.find(hash(&word), |&other| other == word).is_some();
        }
        let mut found = false;
        self.table
            .for_each(|entry| found |= entry.as_raw().addr() == word);
        found
    }
}

/// Spreads the bits of an address over the whole result, which a hash table wants in its top bits
/// too.
fn hash(&word: &usize) -> u64 {
    let product = u128::from(word as u64 ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    let (low, high) = (product & u128::from(u64::MAX), product >> 64);
    #[expect(clippy::cast_possible_truncation, reason = "both halves have 64 bits")]
    {
        (low ^ high) as u64
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
