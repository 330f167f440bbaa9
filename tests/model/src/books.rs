//! Who holds each object.

use crate::objects::{Id, Ledger};
use std::rc::Rc;
use vmexternref_core::VMExternRef;

/// Whether an object is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Alive,
    /// Its last reference is gone, and its destructor waits in garbage that the host keeps.
    Waiting,
    Gone,
}

/// An object as the books know it.
#[derive(Debug)]
pub(crate) struct Known {
    /// The word of its box.
    pub(crate) word: usize,
    /// The collector that traces it, if any does.
    pub(crate) tracer: Option<usize>,
    /// What it refers to.
    pub(crate) links: Vec<Id>,
    pub(crate) life: Life,
    /// References that the library has leaked, because a host broke its contract.
    pub(crate) leaked: usize,
}

/// Every object, and who holds it.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) objects: Vec<Known>,
    pub(crate) ledger: Rc<Ledger>,
    /// What the host holds.
    pub(crate) held: Vec<(Id, VMExternRef)>,
    /// What tables and globals of Wasm hold: words that compiled code counts.
    pub(crate) stored: Vec<(Id, *mut u8)>,
    /// References that the host holds because frames have them without an entry.
    pub(crate) pinned: Vec<Id>,
    /// The entries of each activations table.
    pub(crate) entries: [Vec<Id>; 2],
}

impl Books {
    /// Objects that something holds that is no object.
    pub(crate) fn roots(&self) -> impl Iterator<Item = Id> {
        let held = self.held.iter().map(|(id, _)| *id);
        let stored = self.stored.iter().map(|(id, _)| *id);
        let entries = self.entries.iter().flatten().copied();
        let leaked = self.objects.iter().enumerate();
        let leaked = leaked.flat_map(|(id, known)| core::iter::repeat_n(id, known.leaked));
        let pinned = self.pinned.iter().copied();
        held.chain(stored)
            .chain(entries)
            .chain(leaked)
            .chain(pinned)
    }

    /// References to each object.
    pub(crate) fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.objects.len()];
        self.roots().for_each(|id| counts[id] += 1);
        for known in self.objects.iter().filter(|known| known.life != Life::Gone) {
            known.links.iter().for_each(|&to| counts[to] += 1);
        }
        counts
    }

    /// Lets objects go that nothing holds any more, and says how many references each has.
    pub(crate) fn settle(&mut self) -> Vec<usize> {
        let mut counts = self.counts();
        let mut unheld: Vec<Id> = (0..counts.len())
            .filter(|&id| counts[id] == 0 && self.objects[id].life == Life::Alive)
            .collect();
        while let Some(id) = unheld.pop() {
            self.objects[id].life = Life::Gone;
            for &to in &self.objects[id].links {
                counts[to] -= 1;
                if counts[to] == 0 && self.objects[to].life == Life::Alive {
                    unheld.push(to);
                }
            }
        }
        counts
    }

    pub(crate) fn is_alive(&self, id: Id) -> bool {
        self.objects[id].life == Life::Alive
    }

    /// The object that a word is, if one that is alive has it.
    pub(crate) fn at(&self, word: usize) -> Option<Id> {
        let mut alive = self.objects.iter().enumerate();
        alive
            .find(|(_, known)| known.word == word && known.life == Life::Alive)
            .map(|(id, _)| id)
    }
}
