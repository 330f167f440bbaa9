//! Insertions into the activations tables, in each way that there is.

use crate::objects::Id;
use crate::tables::Table;
use crate::walks::Manner;
use crate::world::World;
use arbitrary::{Result, Unstructured};
use vmexternref_core::{OutOfMemory, VMExternRef};

impl World {
    pub(super) fn configure(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let index = u.int_in_range(0..=1)?;
        let (verifies, foreign) = (u.arbitrary()?, u.ratio(1, 3)?);
        let table = &mut self.tables[index];
        table.verify(verifies || self.faults.wild_words);
        table.allow_foreign_roots(foreign);
        Ok(())
    }

    /// The host inserts something that no frame holds, in each way that there is.
    pub(super) fn insert(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let table = u.int_in_range(0..=1)?;
        let Some((id, reference)) = self.choose(u)? else {
            return Ok(());
        };
        let real = self.tables[table].real();
        let (len, maximum) = (real.len(), self.tables[table].maximum);
        let inserted = match u.int_in_range(0..=2)? {
            0 => {
                let full = self.tables[table].free_slots() == 0;
                let result = real.try_insert(reference);
                assert_eq!(result.is_err(), full, "a full chunk refuses");
                result.is_ok()
            }
            1 if len < maximum => {
                real.insert_without_gc(reference);
                true
            }
            _ => {
                let result = real.try_insert_without_gc(reference);
                assert_eq!(result.is_ok(), len < maximum, "a table has its maximum");
                result.is_ok()
            }
        };
        if inserted {
            self.books.entries[table].push(id);
        }
        Ok(())
    }

    /// Inserts arguments as a host does that passes them to Wasm; `false` if there is no room.
    pub(super) fn insert_for_frame(
        &mut self,
        table: usize,
        mut arguments: Vec<(Id, VMExternRef)>,
        u: &mut Unstructured<'_>,
    ) -> Result<bool> {
        let manner = Manner::arbitrary(self.faults.walkers, u)?;
        let count = arguments.len();
        if count == 1 && u.arbitrary()? {
            let (id, reference) = arguments.remove(0);
            return Ok(self.insert_with_gc(table, id, reference, manner));
        }
        let collects =
            self.tables[table].free_slots() < count && !self.tables[table].real().is_empty();
        let walk = self.walk(table, manner);
        // The host holds the arguments until they are in the table.
        let held = self.books.held.len();
        self.books.held.append(&mut arguments);
        let (real, registry) = (self.tables[table].real(), &self.registry);
        let before = real.len();
        let expected = collects.then(|| self.expect_collection(table, &walk));
        // SAFETY: the walk shows the frames as they are, or as little as the case wants.
        let result = unsafe { real.reserve(count, registry, &walk.replay()) };
        let (report, reserved) = match result {
            Ok(report) => (report, true),
            Err(OutOfMemory(report)) => (report, false),
        };
        self.check_insertion(table, report, expected, before);
        let len = self.books.entries[table].len();
        assert_eq!(reserved, len + count <= self.tables[table].maximum);
        let arguments = self.books.held.split_off(held);
        if reserved {
            for (id, reference) in arguments {
                let inserted = self.tables[table].real().try_insert(reference);
                assert!(inserted.is_ok(), "a reservation holds");
                self.books.entries[table].push(id);
            }
        }
        Ok(reserved)
    }

    fn insert_with_gc(
        &mut self,
        table: usize,
        id: Id,
        reference: VMExternRef,
        manner: Manner,
    ) -> bool {
        let full = self.tables[table].free_slots() == 0;
        let collects = full && !self.tables[table].real().is_empty();
        let walk = self.walk(table, manner);
        let real = self.tables[table].real();
        let before = real.len();
        // The host holds the reference until it is in the table.
        self.books.pinned.push(id);
        let expected = collects.then(|| self.expect_collection(table, &walk));
        // SAFETY: the walk shows the frames as they are, or as little as the case wants.
        let result = unsafe { real.try_insert_with_gc(reference, &self.registry, &walk.replay()) };
        let (report, inserted) = match result {
            Ok(report) => (report, None),
            Err(OutOfMemory((reference, report))) => (report, Some(reference)),
        };
        let inserted_is = inserted.is_none();
        self.check_insertion(table, report, expected, before);
        self.books.pinned.pop();
        let len = self.books.entries[table].len();
        assert_eq!(inserted_is, len < self.tables[table].maximum);
        if inserted_is {
            self.books.entries[table].push(id);
        }
        inserted_is
    }

    pub(super) fn clear(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let table = u.int_in_range(0..=1)?;
        let mut activations = self.stacks.iter().flat_map(|stack| &stack.activations);
        if activations.any(|activation| activation.table == table) {
            return Ok(());
        }
        self.books.entries[table].clear();
        let dead = self.dead_now();
        // SAFETY: no frame holds anything for which this table has an entry.
        let garbage = unsafe { self.tables[table].real().clear() };
        assert_eq!(garbage.len(), dead.len());
        self.keep_garbage(garbage, dead);
        self.tally.count("tables cleared");
        if u.ratio(1, 4)? {
            let old = &self.tables[table];
            let new = Table::new(
                u.int_in_range(0..=8)?,
                old.maximum,
                old.wraps,
                old.immediate_bits,
            );
            self.tables[table] = new;
            self.tables[table].verify(self.faults.wild_words);
        }
        Ok(())
    }
}
