//! Calls into Wasm and inside of it, and the frames that they make.

use crate::frames::Word;
use crate::modules::Code;
use crate::objects::Id;
use crate::world::{MODULES, World};
use arbitrary::{Result, Unstructured};
use core::ptr;
use vmexternref_core::VMExternRef;

impl World {
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
    pub(super) fn enter(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if !self.stacks[self.running].has_room() {
            return Ok(());
        }
        let table = u.int_in_range(0..=1)?;
        let canary_of = self.tables[table]
            .wraps
            .then_some(self.tables[table].real());
        self.tables[table].had_canary |= canary_of.is_some();
        self.stacks[self.running].enter(table, canary_of);
        self.tally.count("calls into Wasm");
        self.push_frame(u)
    }

    /// Compiled code calls compiled code.
    pub(super) fn call(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
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

    /// The host forgets the insertion, and holds the object itself as long as the frame is there.
    fn pin(&mut self, id: Id, reference: VMExternRef) {
        core::mem::forget(reference);
        self.books.pinned.push(id);
        let frame = self.stacks[self.running].youngest_mut();
        frame.expect("there is a frame").pins.push(id);
        self.tally.count("insertions forgotten");
    }

    pub(super) fn set(&mut self, slot: u32, word: Word) {
        let value = match word {
            Word::Null => 0,
            Word::Object(id) => self.books.objects[id].word,
            Word::Misaligned(value) | Word::Wild(value) => value,
        };
        self.stacks[self.running].set(slot, word, value);
    }

    /// A live word of the youngest frame.
    pub(super) fn choose_slot(&self, u: &mut Unstructured<'_>) -> Result<Option<u32>> {
        match self.stacks[self.running].youngest() {
            Some(frame) if !frame.live.is_empty() => Ok(Some(u.choose(&frame.live)?.0)),
            _ => Ok(None),
        }
    }

    /// Compiled code assigns to a local: null, or another local.
    pub(super) fn assign(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
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

    pub(super) fn unpin(&mut self, pins: &[Id]) {
        for &id in pins {
            let index = self.books.pinned.iter().position(|&pinned| pinned == id);
            self.books.pinned.swap_remove(index.expect("it was pinned"));
            let raw = ptr::with_exposed_provenance_mut(self.books.objects[id].word);
            // SAFETY: this is the reference that `pin` has kept.
            drop(unsafe { VMExternRef::from_raw(raw) });
        }
    }
}
