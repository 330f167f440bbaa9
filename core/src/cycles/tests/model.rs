//! The model: what something outside reaches lives, everything else dies.
//!
//! A random host with two collectors, a table and a stack, against reachability computed from the
//! model's own lists. `VMEXTERNREF_TEST_SECONDS` sets how long it runs.

use super::*;
use alloc::rc::Weak;
use arbtest::arbitrary::{Result as Arbitrary, Unstructured};

const FRAME_WORDS: usize = 3;

/// An object as the model knows it.
struct Known {
    /// The collector that traces it, if any does.
    tracer: Option<usize>,
    links: Vec<usize>,
    alive: bool,
    real_links: Weak<RefCell<Vec<VMExternRef>>>,
}

#[derive(Default)]
struct World {
    collectors: [CycleCollector; 2],
    registry: StackMapRegistry,
    table: VMExternRefActivationsTable,
    gone: Gone,
    objects: Vec<Known>,
    /// What the host holds.
    held: Vec<(usize, VMExternRef)>,
    /// What tables and globals of Wasm hold: words, counted as compiled code does.
    stored: Vec<(usize, *mut u8)>,
    /// Entries of the table.
    entries: Vec<usize>,
    stack: Vec<[Option<(usize, usize)>; FRAME_WORDS]>,
    weak: Vec<(usize, WeakExternRef)>,
    operations: usize,
    /// Boxes that collections have freed.
    freed: usize,
}

impl World {
    fn new() -> Self {
        let world = Self::default();
        let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
        module.function(0..0x100).unwrap();
        let map = StackMap::new(None, 0..3).unwrap();
        module.safepoint(0x10, map).unwrap();
        world.registry.register(0x1000, module).unwrap();
        // A word of a frame is a reference, null or an immediate.
        world.table.set_immediate_bits(0b11).unwrap();
        world
    }

    fn make(&mut self, tracer: Option<usize>) -> (usize, VMExternRef) {
        let id = self.objects.len();
        let object = Object::new(id, &self.gone);
        self.objects.push(Known {
            tracer,
            links: Vec::new(),
            alive: true,
            real_links: Rc::downgrade(&object.links),
        });
        let reference = match tracer {
            Some(index) => self.collectors[index].new_traced(object),
            None => VMExternRef::new(object),
        };
        (id, reference)
    }

    /// An object that the host can reach: one that it holds, or some links further.
    fn choose(&self, u: &mut Unstructured<'_>) -> Arbitrary<Option<(usize, VMExternRef)>> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let (_, mut reference) = u.choose(&self.held)?.clone();
        for _ in 0..u.int_in_range(0..=3)? {
            let links = Object::of(&reference).links.borrow().clone();
            if links.is_empty() {
                break;
            }
            reference = u.choose(&links)?.clone();
        }
        Ok(Some((Object::of(&reference).id, reference)))
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Arbitrary<()> {
        self.operations += 1;
        match u.int_in_range(0..=13)? {
            0 | 1 => {
                let tracer = *u.choose(&[Some(0), Some(0), Some(1), None])?;
                let new = self.make(tracer);
                self.held.push(new);
            }
            2..=5 => {
                if let (Some((from, a)), Some((to, b))) = (self.choose(u)?, self.choose(u)?) {
                    link(&a, &b);
                    self.objects[from].links.push(to);
                }
            }
            6 => {
                if let Some((from, reference)) = self.choose(u)? {
                    let cut = Object::of(&reference).links.borrow_mut().pop();
                    self.objects[from].links.pop();
                    drop(cut);
                }
            }
            7 | 8 => {
                if !self.held.is_empty() {
                    let index = u.choose_index(self.held.len())?;
                    self.held.swap_remove(index);
                }
            }
            9 => {
                let mut frame = [None; FRAME_WORDS];
                for word in &mut frame {
                    if let Some((id, reference)) = self.choose(u)? {
                        *word = Some((id, reference.as_raw().addr()));
                        self.table.insert_without_gc(reference);
                        self.entries.push(id);
                    }
                }
                self.stack.push(frame);
            }
            10 => {
                self.stack.pop();
            }
            11 => match self.choose(u)? {
                Some((id, reference)) if u.arbitrary()? => {
                    self.stored.push((id, reference.into_raw()));
                }
                _ => self.store_null(),
            },
            12 => match self.choose(u)? {
                Some((id, reference)) if u.arbitrary()? => {
                    self.weak
                        .extend(reference.downgrade().map(|weak| (id, weak)));
                }
                _ => {
                    self.weak.pop();
                }
            },
            _ => match u.int_in_range(0..=2)? {
                0 => self.collect_frames(),
                index => self.collect(index - 1),
            },
        }
        self.check();
        Ok(())
    }

    /// What compiled code does where it stores null over a reference.
    fn store_null(&mut self) {
        let Some((_, raw)) = self.stored.pop() else {
            return;
        };
        let count = core::ptr::with_exposed_provenance_mut::<usize>(raw.addr());
        // SAFETY: the word owns a reference, which is given up here.
        unsafe {
            *count -= 1;
            if *count == 0 {
                crate::drop_extern_ref(raw);
            }
        }
    }

    fn collect_frames(&mut self) {
        let words: Vec<[usize; FRAME_WORDS]> = self
            .stack
            .iter()
            .map(|frame| frame.map(|word| word.map_or(self.operations & 0b11, |(_, word)| word)))
            .collect();
        let frames = words.iter().map(|words| frame(&words[0])).collect();
        // SAFETY: the frames lie in `words`, and the map describes them.
        let report = unsafe {
            let walker = RecordedWalker::new(frames, WalkEnd::Complete);
            gc(&self.registry, &self.table, &walker)
        };
        assert!(report.swept());
        self.entries = self.stack.iter().flatten().flatten().map(|w| w.0).collect();
        self.entries.sort_unstable();
        self.entries.dedup();
    }

    /// Objects held by something that is no object.
    fn roots(&self) -> impl Iterator<Item = usize> {
        let held = self.held.iter().map(|(id, _)| *id);
        let stored = self.stored.iter().map(|(id, _)| *id);
        held.chain(stored).chain(self.entries.iter().copied())
    }

    fn collect(&mut self, collector: usize) {
        let mut reached = vec![false; self.objects.len()];
        let mut work: Vec<usize> = self.roots().collect();
        for object in &self.objects {
            if object.alive && object.tracer != Some(collector) {
                work.extend(&object.links);
            }
        }
        while let Some(id) = work.pop() {
            if !core::mem::replace(&mut reached[id], true) {
                work.extend(&self.objects[id].links);
            }
        }
        let (mut boxes, mut references, mut garbage) = (0, 0, 0);
        for (object, reached) in self.objects.iter_mut().zip(reached) {
            if object.alive && object.tracer == Some(collector) {
                boxes += 1;
                references += object.links.len();
                object.alive = reached;
                garbage += usize::from(!reached);
            }
        }
        let report = self.collectors[collector].collect();
        assert_freed(&report, boxes, garbage);
        assert_eq!(report.references, references);
        self.freed += garbage;
    }

    /// Lets objects die that nothing refers to any more, and says how many references each has.
    fn settle(&mut self) -> Vec<usize> {
        loop {
            let mut counts = vec![0; self.objects.len()];
            self.roots().for_each(|id| counts[id] += 1);
            for object in self.objects.iter().filter(|object| object.alive) {
                object.links.iter().for_each(|&to| counts[to] += 1);
            }
            let mut settled = true;
            for (object, &count) in self.objects.iter_mut().zip(&counts) {
                if object.alive && count == 0 {
                    object.alive = false;
                    settled = false;
                }
            }
            if settled {
                return counts;
            }
        }
    }

    fn check(&mut self) {
        let counts = self.settle();
        let mut gone = self.gone.borrow().clone();
        gone.sort_unstable();
        let dead = (0..self.objects.len()).filter(|&id| !self.objects[id].alive);
        assert_eq!(gone, dead.collect::<Vec<_>>());
        for (id, reference) in &self.held {
            assert_eq!(reference.strong_count(), counts[*id]);
        }
        for (id, weak) in &self.weak {
            let upgraded = weak.upgrade();
            assert_eq!(upgraded.is_some(), self.objects[*id].alive);
            assert!(upgraded.is_none_or(|reference| Object::of(&reference).id == *id));
        }
    }

    /// Lets go of everything, and in the end cuts all links: nothing is left.
    fn end(mut self) {
        while let Some((_, reference)) = self.held.pop() {
            drop(reference);
        }
        while !self.stored.is_empty() {
            self.store_null();
        }
        self.stack.clear();
        self.collect_frames();
        self.check();
        for collector in 0..2 {
            self.collect(collector);
            self.check();
        }
        for links in self.objects.iter().filter_map(|o| o.real_links.upgrade()) {
            drop(links.take());
        }
        assert_eq!(self.gone.borrow().len(), self.objects.len());
    }
}

#[test]
fn the_model_of_reachability_agrees() {
    let seconds = std::env::var("VMEXTERNREF_TEST_SECONDS");
    let seconds: u64 = seconds.map_or(1, |text| text.parse().unwrap());
    let (operations, freed) = (Cell::new(0), Cell::new(0));
    arbtest::arbtest(|u| {
        let mut world = World::new();
        while !u.is_empty() && world.objects.len() < 64 {
            world.step(u)?;
        }
        operations.set(operations.get() + world.operations);
        freed.set(freed.get() + world.freed);
        world.end();
        Ok(())
    })
    .budget_ms(1000 * seconds)
    .size_min(256)
    .run();
    let (operations, freed) = (operations.get(), freed.get());
    std::println!("{operations} operations, {freed} boxes freed by collections");
    assert!(freed > 0);
}
