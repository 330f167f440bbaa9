//! What a host does, one step after the other.

use crate::books::{Known, Life};
use crate::collections::{Expected, frames_of};
use crate::frames::Word;
use crate::modules::{Code, Module};
use crate::objects::{Id, Making, make, object};
use crate::stacks::Stack;
use crate::tables::{Table, release_inline};
use crate::walks::{Addresses, Manner, View, Walk};
use crate::world::{Heap, MODULES, STACKS, World};
use arbitrary::{Result, Unstructured};
use core::ptr;
use vmexternref_core::{
    ComparingWalker, Frame, Garbage, GcReport, OutOfMemory, VMExternRef, WalkEnd, collect, gc,
};
use vmexternref_frame_pointer::{ActivationsWalker, StacksWalker};

/// Operations on what objects refer to, and cycle collections.
const GRAPHS: [u8; 12] = [0, 4, 4, 4, 4, 6, 7, 7, 10, 15, 38, 38];

impl World {
    /// Does one thing, if it is possible.
    pub(crate) fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.tally.operations += 1;
        let operation = if self.likes_graphs && u.ratio(3, 4)? {
            *u.choose(&GRAPHS)?
        } else {
            u.int_in_range(0..=39)?
        };
        match operation {
            0..=3 => self.make(u),
            4 | 5 => self.link(u),
            6 => self.unlink(u),
            7..=9 => self.drop_held(u),
            10 => self.take_out(u),
            11 => self.ask(u),
            12 | 13 => self.store(u),
            14 => self.load(u),
            15 => self.weaken(u),
            16..=18 => self.enter(u),
            19..=21 => self.call(u),
            22 | 23 => self.assign(u),
            24 | 25 => {
                self.leave_frame();
                Ok(())
            }
            26 => self.switch(u),
            27 => self.throw_away(u),
            28 => self.register(u),
            29 => self.unregister(u),
            30 => self.look_up(u),
            31 => self.configure(u),
            32 => self.insert(u),
            33..=36 => self.collect(u),
            37 => self.release_slice(u),
            38 => {
                let collector = u.int_in_range(0..=1)?;
                self.collect_cycles(collector);
                Ok(())
            }
            _ => self.clear(u),
        }
    }

    // Boxes.

    fn make(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let made = self.new_object(u)?;
        self.books.held.push(made);
        Ok(())
    }

    fn new_object(&mut self, u: &mut Unstructured<'_>) -> Result<(Id, VMExternRef)> {
        let tracer = *u.choose(&[None, None, Some(0), Some(0), Some(1)])?;
        let making = Making {
            shape: u.arbitrary()?,
            constructor: u.arbitrary()?,
        };
        let collector = tracer.map(|index: usize| &self.collectors[index]);
        let (id, reference) = make(making, collector, &self.books.ledger);
        let word = reference.as_raw().addr();
        assert!(
            self.books.at(word).is_none(),
            "a new box has an address of its own"
        );
        self.books.objects.push(Known {
            word,
            tracer,
            links: Vec::new(),
            life: Life::Alive,
            leaked: 0,
        });
        self.tally.count("boxes made");
        Ok((id, reference))
    }

    /// An object that the host can reach: one that it holds, or some links further.
    fn choose(&self, u: &mut Unstructured<'_>) -> Result<Option<(Id, VMExternRef)>> {
        if self.books.held.is_empty() {
            return Ok(None);
        }
        let (_, mut reference) = u.choose(&self.books.held)?.clone();
        for _ in 0..u.int_in_range(0..=2)? {
            let next = {
                let links = object(&reference).links.borrow();
                if links.is_empty() {
                    break;
                }
                u.choose(&links)?.clone()
            };
            reference = next;
        }
        Ok(Some((object(&reference).id, reference)))
    }

    fn link(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if let (Some((from, a)), Some((to, b))) = (self.choose(u)?, self.choose(u)?) {
            object(&a).links.borrow_mut().push(b);
            self.books.objects[from].links.push(to);
            self.tally.count("links made");
        }
        Ok(())
    }

    fn unlink(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if let Some((from, reference)) = self.choose(u)? {
            let cut = object(&reference).links.borrow_mut().pop();
            self.books.objects[from].links.pop();
            drop(cut);
        }
        Ok(())
    }

    fn drop_held(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if !self.books.held.is_empty() {
            let index = u.choose_index(self.books.held.len())?;
            self.books.held.swap_remove(index);
        }
        Ok(())
    }

    /// The host takes hold of one more object, or clones by way of a word.
    fn take_out(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if let Some((id, reference)) = self.choose(u)? {
            let raw = reference.into_raw();
            // SAFETY: the word owns the reference that was given up.
            let (clone, reference) =
                unsafe { (VMExternRef::clone_from_raw(raw), VMExternRef::from_raw(raw)) };
            assert!(VMExternRef::eq(&clone, &reference));
            drop(reference);
            self.books.held.push((id, clone));
        }
        Ok(())
    }

    fn ask(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if let (Some((a, one)), Some((b, other))) = (self.choose(u)?, self.choose(u)?) {
            assert_eq!(VMExternRef::eq(&one, &other), a == b);
            assert_eq!(VMExternRef::cmp(&one, &other).is_eq(), a == b);
            assert!(one.downcast_ref::<u64>().is_none() && !one.is::<u64>());
            let traced = self.books.objects[a].tracer.is_some();
            assert_eq!(one.downgrade().is_some(), traced);
        }
        Ok(())
    }

    // What compiled code counts.

    /// Compiled code stores a reference, or null over one.
    fn store(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
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
    fn load(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
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

    fn weaken(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match self.choose(u)? {
            Some((id, reference)) if u.arbitrary()? => {
                self.weak
                    .extend(reference.downgrade().map(|weak| (id, weak.clone())));
            }
            _ => {
                self.weak.pop();
            }
        }
        Ok(())
    }

    // Frames.

    /// Something that an argument or a local can be, and the reference to insert for it.
    fn choose_word(&mut self, u: &mut Unstructured<'_>) -> Result<(Word, Option<VMExternRef>)> {
        let wild = self.faults.wild_words && u.ratio(1, 16)?;
        if wild {
            return Ok((Word::Wild(0x1000 * u.int_in_range(1..=9)?), None));
        }
        if u.ratio(1, 8)? {
            let told = self
                .tables
                .iter()
                .all(|table| table.immediate_bits & 1 != 0);
            if told || self.faults.wild_words {
                return Ok((Word::Misaligned(u.arbitrary::<usize>()? | 1), None));
            }
        }
        if u.ratio(1, 8)? {
            return Ok((Word::Null, None));
        }
        // What the host has made for the guest, and does not hold itself.
        let chosen = if u.arbitrary()? {
            Some(self.new_object(u)?)
        } else {
            self.choose(u)?
        };
        Ok(match chosen {
            Some((id, reference)) => (Word::Object(id), Some(reference)),
            None => (Word::Null, None),
        })
    }

    /// The host calls compiled code, with arguments that become the words of its first frame.
    fn enter(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if !self.stacks[self.running].has_room() {
            return Ok(());
        }
        let table = u.int_in_range(0..=1)?;
        let canary_of = self.tables[table].wraps.then_some(self.tables[table].real);
        self.tables[table].had_canary |= canary_of.is_some();
        self.stacks[self.running].enter(table, canary_of);
        self.tally.count("calls into Wasm");
        self.push_frame(u)
    }

    /// Compiled code calls compiled code.
    fn call(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let stack = &self.stacks[self.running];
        if stack.activations.is_empty() || !stack.has_room() {
            return Ok(());
        }
        self.push_frame(u)
    }

    /// Pushes a frame of some registered module, and fills its live words.
    fn push_frame(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let place = u.int_in_range(0..=MODULES - 1)?;
        if !self.is_registered(place) {
            self.register_at(place, u)?;
        }
        let (pc, words, size_is_known, live) = {
            let module = self.modules[place].as_ref();
            let module = module.expect("a registered module is there");
            let pc = module.arbitrary_pc(u)?;
            match module.at(pc) {
                Code::Wasm(Some(safepoint)) => {
                    let live = safepoint.live.clone();
                    let reach = live.last().map_or(0, |last| last + 1);
                    let words = safepoint.frame_words;
                    (pc, words.unwrap_or(reach), words.is_some(), live)
                }
                _ => (pc, 0, false, Vec::new()),
            }
        };
        let activation = self.stacks[self.running].activations.last();
        let table = activation.expect("Wasm was entered").table;
        self.stacks[self.running].push(pc, place, words, size_is_known);
        for &slot in &live {
            self.set(slot, Word::Null);
        }
        // From the caller's frame: words that were inserted when they came in.
        let inherited = self.inherited_words();
        let mut arguments = Vec::new();
        let mut words = Vec::new();
        for _ in &live {
            if !inherited.is_empty() && u.ratio(1, 3)? {
                words.push(*u.choose(&inherited)?);
                continue;
            }
            let (word, reference) = self.choose_word(u)?;
            words.push(word);
            if let (Word::Object(id), Some(reference)) = (word, reference) {
                if self.faults.insertions && u.ratio(1, 8)? {
                    self.pin(id, reference);
                } else {
                    arguments.push((id, reference));
                }
            }
        }
        // The frame is there while the host inserts, but holds nothing yet.
        if !self.insert_for_frame(table, arguments, u)? {
            return Ok(());
        }
        for (slot, word) in live.into_iter().zip(words) {
            self.set(slot, word);
        }
        Ok(())
    }

    /// Objects that the caller of the youngest frame holds by entries of the same table.
    fn inherited_words(&self) -> Vec<Word> {
        let activation = self.stacks[self.running].activations.last();
        let activation = activation.expect("Wasm was entered");
        let Some(caller) = activation.frames.iter().rev().nth(1) else {
            return Vec::new();
        };
        let entries = &self.books.entries[activation.table];
        let objects = caller.objects().filter(|id| entries.contains(id));
        objects.map(Word::Object).collect()
    }

    /// The host forgets the insertion, and holds the object itself for as long as the frame is there.
    fn pin(&mut self, id: Id, reference: VMExternRef) {
        core::mem::forget(reference);
        self.books.pinned.push(id);
        let frame = self.stacks[self.running].youngest_mut();
        frame.expect("there is a frame").pins.push(id);
        self.tally.count("insertions forgotten");
    }

    fn set(&mut self, slot: u32, word: Word) {
        let value = match word {
            Word::Null => 0,
            Word::Object(id) => self.books.objects[id].word,
            Word::Misaligned(value) | Word::Wild(value) => value,
        };
        self.stacks[self.running].set(slot, word, value);
    }

    /// A live word of the youngest frame.
    fn choose_slot(&self, u: &mut Unstructured<'_>) -> Result<Option<u32>> {
        match self.stacks[self.running].youngest() {
            Some(frame) if !frame.live.is_empty() => Ok(Some(u.choose(&frame.live)?.0)),
            _ => Ok(None),
        }
    }

    /// Compiled code assigns to a local: null, or another local.
    fn assign(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let Some(slot) = self.choose_slot(u)? else {
            return Ok(());
        };
        let frame = self.stacks[self.running].youngest();
        let frame = frame.expect("a slot was chosen");
        let (_, other) = *u.choose(&frame.live)?;
        let word = if u.arbitrary()? { other } else { Word::Null };
        self.set(slot, word);
        Ok(())
    }

    /// The youngest function returns, or the call into Wasm ends if it was the last.
    pub(crate) fn leave_frame(&mut self) {
        if let Some(frame) = self.stacks[self.running].pop() {
            self.unpin(&frame.pins);
        }
    }

    fn unpin(&mut self, pins: &[Id]) {
        for &id in pins {
            let index = self.books.pinned.iter().position(|&pinned| pinned == id);
            self.books.pinned.swap_remove(index.expect("it was pinned"));
            let raw = ptr::with_exposed_provenance_mut(self.books.objects[id].word);
            // SAFETY: this is the reference that `pin` has kept.
            drop(unsafe { VMExternRef::from_raw(raw) });
        }
    }

    // Stacks.

    fn switch(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.stacks.len() < STACKS && u.arbitrary()? {
            self.stacks.push(Stack::new(u.ratio(3, 4)?));
        }
        self.running = u.choose_index(self.stacks.len())?;
        Ok(())
    }

    /// Frees a stack on which Wasm may be suspended.
    fn throw_away(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let index = u.choose_index(self.stacks.len())?;
        if index == self.running {
            return Ok(());
        }
        let stack = self.stacks.swap_remove(index);
        if self.running == self.stacks.len() {
            self.running = index;
        }
        let frames = stack.activations.iter().flat_map(|a| &a.frames);
        let pins: Vec<Id> = frames.flat_map(|frame| frame.pins.clone()).collect();
        stack.discard(self.tables.each_ref().map(|table| table.real));
        self.unpin(&pins);
        self.tally.count("stacks thrown away");
        Ok(())
    }

    // Modules.

    fn is_registered(&self, place: usize) -> bool {
        let module = self.modules[place].as_ref();
        module.is_some_and(|module| !module.registrations.is_empty())
    }

    fn is_used(&self, place: usize) -> bool {
        let activations = self.stacks.iter().flat_map(|stack| &stack.activations);
        let mut frames = activations.flat_map(|activation| &activation.frames);
        frames.any(|frame| frame.module == place)
    }

    fn register(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let place = u.int_in_range(0..=MODULES - 1)?;
        self.register_at(place, u)
    }

    /// Registers the module of a place once more, or another one where there is none.
    fn register_at(&mut self, place: usize, u: &mut Unstructured<'_>) -> Result<()> {
        if !self.is_registered(place) && !self.is_used(place) {
            self.modules[place] = Some(Module::arbitrary(place, u)?);
        }
        let module = self.modules[place].as_mut();
        let module = module.expect("there is one now");
        let registration = self.registry.register(module.base(), module.declare());
        let registration = registration.expect("the same module, or none, is there");
        module.registrations.push(registration);
        if u.ratio(1, 8)? {
            let other = Module::arbitrary(place, u)?.declare();
            let overlap = self.registry.register(module.base() + 1, other);
            assert!(overlap.is_err(), "code is there already");
        }
        Ok(())
    }

    fn unregister(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let place = u.int_in_range(0..=MODULES - 1)?;
        let used = self.is_used(place);
        let Some(module) = &mut self.modules[place] else {
            return Ok(());
        };
        let last = module.registrations.len() == 1;
        if last && used && !self.faults.modules {
            return Ok(());
        }
        if let Some(registration) = module.registrations.pop() {
            // SAFETY: no frame of this code is on any stack, or else each walker that is used from
            // here on says of such a frame that it is compiled code.
            unsafe { self.registry.unregister(registration) }.expect("it is of this registry");
            if last {
                self.tally.count(if used {
                    "modules unregistered while they run"
                } else {
                    "modules unregistered"
                });
            }
        }
        Ok(())
    }

    fn look_up(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let place = u.int_in_range(0..=MODULES - 1)?;
        if let Some(module) = &self.modules[place] {
            let pc = module.base() + u.int_in_range(0..=0x120)?;
            let code = if module.registrations.is_empty() {
                Code::Outside
            } else {
                module.at(pc)
            };
            let wasm = matches!(code, Code::Wasm(_));
            assert_eq!(self.registry.is_wasm(pc), wasm, "{pc:#x}");
            let is_code = wasm || matches!(code, Code::Other);
            assert_eq!(self.registry.is_code(pc), is_code, "{pc:#x}");
        }
        self.registry.reclaim();
        Ok(())
    }

    // Tables.

    fn configure(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let index = u.int_in_range(0..=1)?;
        let (verifies, foreign) = (u.arbitrary()?, u.ratio(1, 3)?);
        let table = &mut self.tables[index];
        table.verify(verifies || self.faults.wild_words);
        table.allow_foreign_roots(foreign);
        Ok(())
    }

    /// The host inserts something that no frame holds, in each way that there is.
    fn insert(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let table = u.int_in_range(0..=1)?;
        let Some((id, reference)) = self.choose(u)? else {
            return Ok(());
        };
        let real = self.tables[table].real;
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
    fn insert_for_frame(
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
            self.tables[table].free_slots() < count && !self.tables[table].real.is_empty();
        let walk = self.walk(table, manner);
        // The host holds the arguments until they are in the table.
        let held = self.books.held.len();
        self.books.held.append(&mut arguments);
        let (real, registry) = (self.tables[table].real, &self.registry);
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
                let inserted = self.tables[table].real.try_insert(reference);
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
        let collects = full && !self.tables[table].real.is_empty();
        let walk = self.walk(table, manner);
        let real = self.tables[table].real;
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

    fn clear(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let table = u.int_in_range(0..=1)?;
        let mut activations = self.stacks.iter().flat_map(|stack| &stack.activations);
        if activations.any(|activation| activation.table == table) {
            return Ok(());
        }
        self.books.entries[table].clear();
        let dead = self.dead_now();
        // SAFETY: no frame holds anything for which this table has an entry.
        let garbage = unsafe { self.tables[table].real.clear() };
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

    // Collections.

    /// What a walker of this manner shows now.
    fn walk(&self, table: usize, manner: Manner) -> Walk {
        let missing = |place| !self.is_registered(place);
        manner.walk(&self.stacks, self.running, table, missing)
    }

    /// What the next collection has to do; checks that the rules let nothing go that is held.
    fn expect_collection(&self, table: usize, walk: &Walk) -> Expected {
        let expected = self.expect(table, walk);
        self.check_soundness(table, &expected);
        expected
    }

    /// Takes what a collection has to do into the books, and says which objects die of it.
    fn apply(&mut self, table: usize, expected: &Expected) -> Vec<Id> {
        self.books.entries[table].clone_from(&expected.entries);
        for &id in &expected.leaked {
            self.books.objects[id].leaked += 1;
            self.tally.count("references leaked");
        }
        self.dead_now()
    }

    /// Objects that nothing holds any more, not counting those that they take along.
    fn dead_now(&self) -> Vec<Id> {
        let counts = self.books.counts();
        let dead = |&id: &Id| counts[id] == 0 && self.books.is_alive(id);
        (0..counts.len()).filter(dead).collect()
    }

    fn check_insertion(
        &mut self,
        table: usize,
        report: Option<GcReport>,
        expected: Option<Expected>,
        before: usize,
    ) {
        assert_eq!(
            report.is_some(),
            expected.is_some(),
            "it collects when full"
        );
        if let (Some(report), Some(expected)) = (report, expected) {
            let dead = self.apply(table, &expected);
            self.check_report(&report, &expected, before, dead.len());
            self.tally.count("insertions that collect");
        }
    }

    fn collect(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let table = u.int_in_range(0..=1)?;
        let manner = Manner::arbitrary(self.faults.walkers, u)?;
        let walk = self.walk(table, manner);
        match u.int_in_range(0..=5)? {
            0 | 1 => self.collect_in_slices(table, &walk),
            2 => self.collect_by_records(table),
            3 => self.collect_comparing(table, &walk, u.arbitrary()?),
            _ => {
                let expected = self.expect_collection(table, &walk);
                let real = self.tables[table].real;
                let before = real.len();
                // SAFETY: the walk shows the frames as they are, or as little as the case wants.
                let report = unsafe { gc(&self.registry, real, &walk.replay()) };
                let dead = self.apply(table, &expected);
                self.check_report(&report, &expected, before, dead.len());
            }
        }
        Ok(())
    }

    /// Collects, and leaves the destructors for later.
    fn collect_in_slices(&mut self, table: usize, walk: &Walk) {
        let expected = self.expect_collection(table, walk);
        let real = self.tables[table].real;
        let before = real.len();
        // SAFETY: the walk shows the frames as they are, or as little as the case wants.
        let (report, garbage) = unsafe { collect(&self.registry, real, &walk.replay()) };
        let dead = self.apply(table, &expected);
        assert_eq!(garbage.len(), dead.len());
        self.check_report(&report, &expected, before, dead.len());
        self.keep_garbage(garbage, dead);
    }

    /// Collects with the walker over the activation records of all stacks.
    fn collect_by_records(&mut self, table: usize) {
        let mut ranges = Vec::new();
        let mut records = Vec::new();
        for stack in &self.stacks {
            ranges.push(stack.range());
            let Some(record) = stack.record(table) else {
                return;
            };
            records.push(record);
        }
        let walkers: Vec<_> = records
            .into_iter()
            .zip(ranges)
            .map(|(record, range)| ActivationsWalker::new(record).with_stack(range))
            .collect();
        // SAFETY: these are the records of all stacks, and iterating over a slice runs no other code.
        let walker = unsafe { StacksWalker::new(walkers.iter().cloned()) };
        let (frames, end) = frames_of(&walker);
        let walk = Walk {
            frames,
            end,
            proves_end: true,
        };
        let manner = Manner {
            view: View::Activations,
            addresses: Addresses::Both,
            tells_compiled: true,
            proves_end: true,
            completes: true,
            cut: None,
        };
        let mut known = self.walk(table, manner).frames;
        let mut seen = walk.frames.clone();
        let by_place = |frame: &Frame| frame.sp;
        known.sort_unstable_by_key(by_place);
        seen.sort_unstable_by_key(by_place);
        assert_eq!((seen, end), (known, WalkEnd::Complete));
        let expected = self.expect_collection(table, &walk);
        let real = self.tables[table].real;
        let before = real.len();
        // SAFETY: the records are those of the stacks as they are.
        let report = unsafe { gc(&self.registry, real, &walker) };
        drop(walkers);
        let dead = self.apply(table, &expected);
        self.check_report(&report, &expected, before, dead.len());
        self.tally.count("collections by activation records");
    }

    /// Collects with two walkers that agree, or of which the second misses a Wasm frame.
    fn collect_comparing(&mut self, table: usize, walk: &Walk, differs: bool) {
        let mut other = walk.clone();
        let last_wasm = other
            .frames
            .iter()
            .rposition(|frame| self.registry.is_wasm(frame.pc));
        let mut shown = Walk {
            proves_end: false,
            ..walk.clone()
        };
        if let Some(last) = last_wasm.filter(|_| differs) {
            let missed = other.frames.remove(last);
            // The frames up to the difference, and one that shows that Wasm goes on.
            shown.frames.truncate(last);
            let there = Frame::new(missed.pc, None, None).of_compiled_code();
            shown.frames.push(there);
            let reason = "two stack walkers disagree about a Wasm frame";
            shown.end = WalkEnd::stopped(reason, Some(missed.pc));
            self.tally.count("walkers that disagree");
        }
        let expected = self.expect_collection(table, &shown);
        let real = self.tables[table].real;
        let before = real.len();
        // SAFETY: the walks show the frames as they are, or less.
        let report = unsafe {
            let walker = ComparingWalker::new(&self.registry, walk.replay(), other.replay());
            gc(&self.registry, real, &walker)
        };
        let dead = self.apply(table, &expected);
        self.check_report(&report, &expected, before, dead.len());
    }

    // Garbage in slices.

    fn keep_garbage(&mut self, garbage: Garbage, objects: Vec<Id>) {
        for &id in &objects {
            self.books.objects[id].life = Life::Waiting;
        }
        self.heaps.push(Heap { garbage, objects });
    }

    fn release_slice(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
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
