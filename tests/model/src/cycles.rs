//! What a cycle collection has to free, from the books alone.

use crate::books::Life;
use crate::world::World;
use vmexternref_core::CycleOutcome;

impl World {
    /// Collects the cycles of one collector: what something else reaches stays, all else goes.
    pub(crate) fn collect_cycles(&mut self, collector: usize) {
        let books = &mut self.books;
        let takes_part = |life, tracer| life == Life::Alive && tracer == Some(collector);
        let mut work: Vec<usize> = books.roots().collect();
        for known in &books.objects {
            // What waits for its destructor holds its links as anything outside does.
            if known.life != Life::Gone && !takes_part(known.life, known.tracer) {
                work.extend(&known.links);
            }
        }
        let mut reached = vec![false; books.objects.len()];
        while let Some(id) = work.pop() {
            if !core::mem::replace(&mut reached[id], true) {
                work.extend(&books.objects[id].links);
            }
        }
        let (mut boxes, mut references, mut garbage) = (0, 0, 0);
        for (known, reached) in books.objects.iter_mut().zip(reached) {
            if takes_part(known.life, known.tracer) {
                boxes += 1;
                references += known.links.len();
                if !reached {
                    known.life = Life::Gone;
                    garbage += 1;
                }
            }
        }
        let report = self.collectors[collector].collect();
        assert_eq!(report.outcome, CycleOutcome::Collected, "{report}");
        let counted = (report.boxes, report.references, report.unlinked);
        assert_eq!(counted, (boxes, references, garbage), "{report}");
        assert_eq!((report.freed, report.survivors), (garbage, 0), "{report}");
        self.tally.unlinked += garbage as u64;
        self.tally.count(if garbage == 0 {
            "cycles looked for"
        } else {
            "cycles freed"
        });
    }
}
