//! What compiled code counts.

use crate::frames::Word;
use crate::tables::release_inline;
use crate::world::World;
use arbitrary::{Result, Unstructured};
use vmexternref_core::VMExternRef;

impl World {
    /// Compiled code stores a reference, or null over one.
    pub(super) fn store(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match self.choose(u)? {
            Some((id, reference)) if u.arbitrary()? => {
                self.books.stored.push((id, reference.into_raw()));
                self.tally.count("words stored");
            }
            _ => {
                if let Some((_, raw)) = self.books.stored.pop() {
                    // SAFETY: the word owns a reference.
                    unsafe { release_inline(raw) };
                }
            }
        }
        Ok(())
    }

    /// Compiled code loads a stored word into its frame, and inserts it inline.
    pub(super) fn load(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let Some(activation) = self.stacks[self.running].activations.last() else {
            return Ok(());
        };
        let table = activation.table;
        let Some(slot) = self.choose_slot(u)? else {
            return Ok(());
        };
        if self.books.stored.is_empty() {
            return Ok(());
        }
        let (id, raw) = *u.choose(&self.books.stored)?;
        // SAFETY: the stored word owns a reference.
        if !unsafe { self.tables[table].insert_inline(raw) } {
            // SAFETY: as above.
            let reference = unsafe { VMExternRef::clone_from_raw(raw) };
            if !self.insert_for_frame(table, vec![(id, reference)], u)? {
                return Ok(());
            }
        } else {
            self.books.entries[table].push(id);
            self.tally.count("inline insertions");
        }
        self.set(slot, Word::Object(id));
        Ok(())
    }
}
