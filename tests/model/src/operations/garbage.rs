//! Garbage that is destroyed in slices.

use crate::books::Life;
use crate::objects::Id;
use crate::world::{Heap, World};
use arbitrary::{Result, Unstructured};
use vmexternref_core::Garbage;

impl World {
    pub(super) fn keep_garbage(&mut self, garbage: Garbage, objects: Vec<Id>) {
        for &id in &objects {
            self.books.objects[id].life = Life::Waiting;
        }
        self.heaps.push(Heap { garbage, objects });
    }

    pub(super) fn release_slice(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.heaps.is_empty() {
            return Ok(());
        }
        let index = u.choose_index(self.heaps.len())?;
        if u.arbitrary()? {
            let heap = self.heaps.swap_remove(index);
            self.release(heap);
            return Ok(());
        }
        let at_most = u.int_in_range(0..=3)?;
        let heap = &mut self.heaps[index];
        assert_eq!(heap.garbage.len(), heap.objects.len());
        let released = heap.garbage.release(at_most);
        assert_eq!(released, at_most.min(heap.objects.len()));
        let (ledger, objects) = (&self.books.ledger, &mut self.books.objects);
        let before = heap.objects.len();
        heap.objects.retain(|&id| {
            let gone = ledger.is_dropped(id);
            if gone {
                objects[id].life = Life::Gone;
            }
            !gone
        });
        assert_eq!(before - heap.objects.len(), released);
        self.tally.count("slices of garbage");
        Ok(())
    }

    /// Destroys what waits in a heap.
    pub(crate) fn release(&mut self, heap: Heap) {
        drop(heap.garbage);
        for id in heap.objects {
            self.books.objects[id].life = Life::Gone;
        }
    }
}
