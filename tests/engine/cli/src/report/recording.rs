//! What a page shows, as its script reads it.
//!
//! Names of fields are those in the page's JSON. Addresses are numbers: those of user space are
//! exact in JavaScript.

use core::cell::Cell;
use serde::Serialize;
use std::rc::Rc;

/// One collection, as a line of the time line has it.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Row {
    Gc(GcRow),
    Cycles(CycleRow),
}

/// A collection of references.
#[derive(Clone, Debug, Serialize)]
pub(super) struct GcRow {
    /// From 1, those of cycles included.
    pub(super) n: usize,
    pub(super) swept: bool,
    pub(super) outcome: String,
    /// What to do about it.
    pub(super) hint: Option<&'static str>,
    pub(super) end: String,
    pub(super) frames: usize,
    pub(super) wasm: usize,
    pub(super) words: usize,
    pub(super) roots: usize,
    pub(super) before: usize,
    pub(super) after: usize,
    pub(super) freed: usize,
    pub(super) breaks: usize,
    pub(super) foreign: usize,
    /// Host objects that were alive afterwards.
    pub(super) alive: usize,
    /// Nanoseconds from the walk to the end of the sweep, without destructors.
    pub(super) pause: u64,
}

/// A collection of cycles.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CycleRow {
    pub(super) n: usize,
    pub(super) swept: bool,
    pub(super) outcome: String,
    pub(super) boxes: usize,
    pub(super) references: usize,
    pub(super) unlinked: usize,
    pub(super) freed: usize,
    pub(super) survivors: usize,
    pub(super) alive: usize,
    /// Nanoseconds, with destructors.
    pub(super) pause: u64,
}

/// The stack and the garbage of one collection.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Detail {
    pub(super) n: usize,
    /// Of each stack the youngest first.
    pub(super) frames: Vec<FrameRow>,
    /// How many of `frames` come before those that were left out.
    pub(super) youngest: usize,
    pub(super) frames_left_out: usize,
    /// What died.
    pub(super) died: Vec<Held>,
    pub(super) died_left_out: usize,
}

/// A frame.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FrameRow {
    /// An index of the page's functions; none for host code and trampolines.
    pub(super) function: Option<usize>,
    pub(super) trampoline: bool,
    /// The offset of the call in the Wasm binary.
    pub(super) offset: Option<u32>,
    pub(super) pc: usize,
    pub(super) sp: Option<usize>,
    pub(super) fp: Option<usize>,
    pub(super) new_stack: bool,
    pub(super) slots: Vec<SlotRow>,
    /// Live words that are not among `slots`.
    pub(super) slots_left_out: usize,
}

/// A slot.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SlotRow {
    pub(super) at: usize,
    pub(super) word: usize,
    pub(super) holds: Holds,
    pub(super) object: Option<Held>,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Holds {
    Null,
    Immediate,
    Object,
    /// A word that is in no entry of the table.
    Unknown,
    Misaligned,
}

/// A host object, by its number; the page has a table of them.
#[derive(Clone, Debug)]
pub(super) enum Held {
    Object(Rc<Object>),
    /// A value that is none of the host's objects.
    Stranger,
}

impl Serialize for Held {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(object) => object.number.serialize(serializer),
            Self::Stranger => serializer.serialize_none(),
        }
    }
}

/// The life of a host object.
#[derive(Debug, Serialize)]
pub(super) struct Object {
    pub(super) number: u64,
    /// Type and value.
    pub(super) text: String,
    /// The youngest call of a Wasm function when it was made.
    pub(super) made: Option<Made>,
    pub(super) died: Cell<Death>,
}

/// Where an object was made.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Made {
    /// An index of the page's functions.
    pub(super) function: usize,
    /// The offset of the call in the Wasm binary.
    pub(super) offset: Option<u32>,
}

/// Why an object died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Death {
    /// It is alive.
    #[default]
    Alive,
    /// Collection `n` took its last reference.
    Gc(usize),
    /// Collection `n` found that only a cycle kept it alive.
    Cycles(usize),
    /// Something else gave up its last reference: a table, a global, another object, the host.
    Count,
    /// The store went.
    End,
}

impl Detail {
    /// Its share of the page.
    pub(super) fn weight(&self) -> usize {
        let slots: usize = self.frames.iter().map(|frame| frame.slots.len()).sum();
        4 + self.frames.len() + slots + self.died.len()
    }

    /// The objects that it shows.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Rc<Object>> {
        let slots = self.frames.iter().flat_map(|frame| &frame.slots);
        let held = slots.filter_map(|slot| slot.object.as_ref());
        held.chain(&self.died).filter_map(|held| match held {
            Held::Object(object) => Some(object),
            Held::Stranger => None,
        })
    }
}
