//! One host: its contexts, stacks and modules, and the books.

use crate::books::{Books, Life};
use crate::modules::Module;
use crate::objects::{Id, object};
use crate::stacks::Stack;
use crate::tables::{Table, release_inline};
use crate::tally::Tally;
use arbitrary::{Result, Unstructured};
use core::ptr;
use vmexternref_core::{CycleCollector, Garbage, StackMapRegistry, VMExternRef, WeakExternRef};

/// Places where the code of a module can be.
pub(crate) const MODULES: usize = 4;

/// Stacks that a host has at most.
pub(crate) const STACKS: usize = 3;

/// What the host of one case does wrong, if anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// Walkers end early, and give too little of a frame.
    pub(crate) walkers: bool,
    /// Modules are unregistered while their code runs.
    pub(crate) modules: bool,
    /// References get into frames without an insertion.
    pub(crate) insertions: bool,
    /// Live words are anything; each table verifies.
    pub(crate) wild_words: bool,
}

/// Dead boxes that the host destroys when it has time.
pub(crate) struct Heap {
    pub(crate) garbage: Garbage,
    pub(crate) objects: Vec<Id>,
}

pub(crate) struct World {
    pub(crate) books: Books,
    pub(crate) faults: Faults,
    /// Whether most operations make graphs of objects.
    pub(crate) likes_graphs: bool,
    pub(crate) registry: StackMapRegistry,
    pub(crate) modules: [Option<Module>; MODULES],
    pub(crate) collectors: [CycleCollector; 2],
    /// Before the tables: a canary is unlinked from its table.
    pub(crate) stacks: Vec<Stack>,
    pub(crate) running: usize,
    pub(crate) tables: [Table; 2],
    pub(crate) weak: Vec<(Id, WeakExternRef)>,
    pub(crate) heaps: Vec<Heap>,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new(u: &mut Unstructured<'_>) -> Result<Self> {
        let any = u.arbitrary()?;
        let mut fault = || Ok(any && u.arbitrary()?);
        let faults = Faults {
            walkers: fault()?,
            modules: fault()?,
            insertions: fault()?,
            wild_words: fault()?,
        };
        let mut table = || {
            let maximum = *u.choose(&[usize::MAX, usize::MAX, 24, 8])?;
            let initial = *u.choose(&[1, 2, 4, 8, 32])?;
            let (wraps, bits) = (u.arbitrary()?, *u.choose(&[0, 0b1, 0b11])?);
            let mut table = Table::new(initial, maximum, wraps, bits);
            table.verify(faults.wild_words || u.arbitrary()?);
            table.allow_foreign_roots(u.ratio(1, 3)?);
            Ok(table)
        };
        let tables = [table()?, table()?];
        Ok(Self {
            books: Books::default(),
            faults,
            likes_graphs: u.ratio(1, 4)?,
            registry: StackMapRegistry::new(),
            modules: [const { None }; MODULES],
            collectors: [CycleCollector::new(), CycleCollector::new()],
            stacks: vec![Stack::new(true)],
            running: 0,
            tables,
            weak: Vec::new(),
            heaps: Vec::new(),
            tally: Tally::default(),
        })
    }

    pub(crate) fn objects_made(&self) -> usize {
        self.books.objects.len()
    }

    /// Compares what there is with the books.
    pub(crate) fn check(&mut self) {
        let counts = self.books.settle();
        for (id, known) in self.books.objects.iter().enumerate() {
            let dropped = self.books.ledger.is_dropped(id);
            assert_eq!(dropped, known.life == Life::Gone, "object {id}: {known:?}");
        }
        for (id, reference) in &self.books.held {
            assert_eq!(reference.strong_count(), counts[*id], "object {id}");
            assert_eq!(object(reference).id, *id);
        }
        for (table, entries) in self.tables.iter().zip(&self.books.entries) {
            let mut words = table.words();
            let mut expected: Vec<usize> = entries
                .iter()
                .map(|&id| self.books.objects[id].word)
                .collect();
            words.sort_unstable();
            expected.sort_unstable();
            assert_eq!(words, expected, "the entries of a table");
            assert!(table.real().capacity() <= table.maximum);
        }
        for (id, weak) in &self.weak {
            let upgraded = weak.upgrade();
            assert_eq!(upgraded.is_some(), self.books.is_alive(*id), "object {id}");
            assert!(upgraded.is_none_or(|reference| object(&reference).id == *id));
        }
        self.check_frames();
    }

    /// What a frame holds is alive: the claim of the library.
    fn check_frames(&self) {
        for stack in &self.stacks {
            let frames = stack.activations.iter().flat_map(|a| &a.frames);
            for id in frames.flat_map(|frame| frame.objects()) {
                assert!(self.books.is_alive(id), "a frame holds object {id}");
                // SAFETY: the object is alive, by the line above.
                let reference = unsafe { self.reference(id) };
                assert_eq!(object(&reference).id, id);
            }
        }
    }

    /// A new reference to an object, from its word.
    ///
    /// # Safety
    ///
    /// The object is alive.
    pub(crate) unsafe fn reference(&self, id: Id) -> VMExternRef {
        let raw = ptr::with_exposed_provenance_mut(self.books.objects[id].word);
        // SAFETY: the caller guarantees that the box is alive.
        unsafe { VMExternRef::clone_from_raw(raw) }
    }

    /// Lets go of everything, and in the end cuts all links: nothing is left.
    pub(crate) fn end(&mut self, tally: &mut Tally) {
        for index in 0..self.stacks.len() {
            self.running = index;
            while !self.stacks[index].activations.is_empty() {
                self.leave_frame();
            }
        }
        self.stacks.clear();
        self.check();
        for table in 0..2 {
            // SAFETY: there is no frame any more.
            drop(unsafe { self.tables[table].real().clear() });
            self.books.entries[table].clear();
        }
        self.check();
        for heap in core::mem::take(&mut self.heaps) {
            self.release(heap);
        }
        self.check();
        while let Some((_, raw)) = self.books.stored.pop() {
            // SAFETY: the word owns a reference.
            unsafe { release_inline(raw) };
        }
        self.books.held.clear();
        for id in 0..self.books.objects.len() {
            for _ in 0..core::mem::take(&mut self.books.objects[id].leaked) {
                let raw = ptr::with_exposed_provenance_mut(self.books.objects[id].word);
                // SAFETY: a collection has counted this reference, and nobody else gives it up.
                drop(unsafe { VMExternRef::from_raw(raw) });
            }
        }
        self.check();
        for collector in 0..2 {
            self.collect_cycles(collector);
            self.check();
        }
        self.cut_all_links();
        self.check();
        for id in 0..self.books.objects.len() {
            assert!(self.books.ledger.is_dropped(id), "object {id} leaks");
        }
        self.tally.boxes = self.books.objects.len() as u64;
        tally.add(&self.tally);
    }

    /// Cuts cycles that no collector sees: of boxes that are not traced, or of two collectors.
    fn cut_all_links(&mut self) {
        let alive: Vec<Id> = (0..self.books.objects.len())
            .filter(|&id| self.books.is_alive(id))
            .collect();
        // SAFETY: these objects are alive, and held from here on.
        let held: Vec<_> = alive
            .iter()
            .map(|&id| unsafe { self.reference(id) })
            .collect();
        for (&id, reference) in alive.iter().zip(&held) {
            self.books.objects[id].links.clear();
            drop(object(reference).links.take());
        }
        drop(held);
    }
}
