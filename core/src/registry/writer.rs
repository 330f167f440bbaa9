//! What the writers of a registry share, and what they do while they hold its lock.
//!
//! A writer replaces the path to one leaf, publishes the new tree, and puts
//! what it replaced aside. The writer that finds that no reader can see it any
//! more takes it along and frees it, after it has released the lock.

use super::chain::{Boxes, Chain};
use super::entry::Entry;
use super::node::{self, Below};
use super::registration::{Registration, RegistryNumber};
use super::tree::{Change, for_each, last_at_or_before, nodes_of_a_change};
use super::versions::{self, Retired};
use crate::module_maps::RegisterError;
use crate::try_box::try_box;
use alloc::boxed::Box;
use core::ptr::NonNull;

pub(super) type Node = node::Node<Entry>;
pub(super) type Versions = versions::Versions<Node>;

/// Memory that a writer brings to the lock, and takes away from it.
///
/// An allocator may run a collection, whose destructors may register code. So
/// nothing is allocated or freed while the lock is held.
#[derive(Debug, Default)]
pub(super) struct Luggage {
    /// The module to be registered.
    entry: Option<Box<Entry>>,
    nodes: Boxes<Node>,
    free: [Free; 2],
}

impl Luggage {
    pub(super) fn with(entry: Box<Entry>) -> Self {
        Self {
            entry: Some(entry),
            ..Self::default()
        }
    }

    /// Allocates `count` nodes.
    pub(super) fn bring(&mut self, count: usize) -> Result<(), RegisterError> {
        for _ in 0..count {
            let node = try_box(Node::new()).map_err(|_| RegisterError::OutOfMemory)?;
            self.nodes.push(node);
        }
        Ok(())
    }

    /// Frees what was taken away.
    pub(super) fn unpack(&mut self) {
        self.nodes = Boxes::new();
        self.free = <[Free; 2]>::default();
    }
}

/// What no reader can see any more.
#[derive(Debug, Default)]
struct Free {
    nodes: Boxes<Node>,
    #[expect(dead_code, reason = "it is kept to be dropped")]
    entries: Boxes<Entry>,
}

/// What versions replaced, which readers may still see.
#[derive(Debug, Default)]
struct Replaced {
    nodes: Chain<Node>,
    entries: Chain<Entry>,
}

impl Replaced {
    const fn new() -> Self {
        Self {
            nodes: Chain::new(),
            entries: Chain::new(),
        }
    }

    /// # Safety
    ///
    /// No reader can see any of it.
    unsafe fn free(self) -> Free {
        // SAFETY: all of it came from boxes, and the caller guarantees that nobody else has it.
        unsafe {
            Free {
                nodes: Boxes::take_over(self.nodes),
                entries: Boxes::take_over(self.entries),
            }
        }
    }
}

/// What a writer has done while it held the lock.
#[derive(Debug)]
pub(super) enum Step<R> {
    Done(R),
    /// Something else: it has to come again.
    Again,
    /// Nothing: it has to come again and bring so many nodes.
    Nodes(usize),
}

/// What the lock protects. Trees that were published or are to be are alive.
#[derive(Debug)]
pub(super) struct Writer {
    /// There is none before the first registration.
    number: Option<RegistryNumber>,
    /// Of the last module that was registered.
    serial: u64,
    /// Nodes for the next change.
    spares: Boxes<Node>,
    /// Modules that were unregistered without memory, but are still in the tree.
    hidden: Chain<Entry>,
    retired: Retired<Replaced>,
}

impl Writer {
    pub(super) const fn new() -> Self {
        Self {
            number: None,
            serial: 0,
            spares: Boxes::new(),
            hidden: Chain::new(),
            retired: Retired::new(Replaced::new(), Replaced::new()),
        }
    }

    /// Registers the module in the luggage.
    pub(super) fn insert(
        &mut self,
        versions: &Versions,
        luggage: &mut Luggage,
    ) -> Step<Result<Registration, RegisterError>> {
        // Short words, for flash: whoever registers a module brings its entry.
        let entry = luggage.entry.as_deref_mut();
        let entry = entry.expect("brought along");
        if let Some(there) = self.overlapping(versions, entry) {
            return Step::Done(self.register_again(there, entry));
        }
        if let Some(step) = self.prepare(versions, luggage) {
            return step;
        }
        Step::Done(match self.number() {
            Some(number) => Ok(self.insert_prepared(versions, luggage, number)),
            None => Err(RegisterError::OutOfMemory),
        })
    }

    /// Takes one registration back, and removes its module if that was the last one.
    ///
    /// Says whether there was such a registration.
    pub(super) fn remove(
        &mut self,
        versions: &Versions,
        luggage: &mut Luggage,
        registration: &Registration,
    ) -> Step<bool> {
        let Some(entry) = self.registered(versions, registration) else {
            return Step::Done(false);
        };
        // SAFETY: the entry is in the tree, which is alive.
        if unsafe { entry.as_ref() }.unregister_once() {
            return Step::Done(true);
        }
        if let Some(step) = self.prepare(versions, luggage) {
            return step;
        }
        self.remove_entry(versions, luggage, entry);
        Step::Done(true)
    }

    /// Does the same without memory: the module stays in the tree, but no reader finds it any more.
    pub(super) fn hide(&mut self, versions: &Versions, registration: &Registration) -> bool {
        let Some(entry) = self.registered(versions, registration) else {
            return false;
        };
        // SAFETY: the entry is in the tree, which is alive.
        let there = unsafe { entry.as_ref() };
        if !there.unregister_once() {
            there.hide();
            // SAFETY: the entry stays in the tree, and so alive, until it was popped.
            unsafe { self.hidden.push(entry) }
        }
        true
    }

    /// Takes along what no reader can see any more.
    pub(super) fn settle(&mut self, versions: &Versions, luggage: &mut Luggage) {
        // SAFETY: no reader can see what comes back.
        luggage.free = self
            .retired
            .settle(versions)
            .map(|old| unsafe { old.free() });
        let root = versions.newest();
        let wanted = if root.is_null() {
            0
        } else {
            nodes_for(versions)
        };
        for free in &mut luggage.free {
            while self.spares.len() < wanted
                && let Some(node) = free.nodes.pop()
            {
                self.spares.push(node);
            }
        }
        while self.spares.len() > wanted
            && let Some(node) = self.spares.pop()
        {
            luggage.nodes.push(node);
        }
    }

    /// Takes everything along, also what is registered.
    ///
    /// # Safety
    ///
    /// There is no reader, and will be none.
    pub(super) unsafe fn clear(&mut self, versions: &Versions) -> impl Sized {
        let mut registered = Replaced::new();
        if let Some(root) = NonNull::new(versions.newest()) {
            // SAFETY: the tree is alive, and each of its nodes and entries is visited once, and in
            // no chain that is used from now on.
            unsafe {
                for_each(root, &mut |below| match below {
                    Below::Node(node) => registered.nodes.push(node),
                    Below::Entry(entry) => registered.entries.push(entry),
                });
            }
        }
        let [recent, earlier] = self.retired.take();
        // SAFETY: the caller guarantees that there is no reader.
        [registered, recent, earlier].map(|all| unsafe { all.free() })
    }

    /// How many nodes and modules were replaced that readers may still see.
    #[cfg(test)]
    pub(super) fn put_aside(&self) -> (usize, usize) {
        let parts = self.retired.parts();
        let nodes = parts.iter().map(|part| part.nodes.len()).sum();
        (nodes, parts.iter().map(|part| part.entries.len()).sum())
    }

    /// The module that overlaps `entry`, unless it is a hidden one.
    fn overlapping<'v>(&self, versions: &'v Versions, entry: &Entry) -> Option<&'v Entry> {
        let (start, last) = (entry.module().start(), entry.module().last());
        // SAFETY: the newest tree is alive while the lock is held.
        let there = unsafe { last_at_or_before(versions.newest(), last)?.as_ref() };
        (there.module().last() >= start && !there.is_hidden()).then_some(there)
    }

    /// Registers once more what is there, if `entry` is the same.
    fn register_again(&self, there: &Entry, entry: &Entry) -> Result<Registration, RegisterError> {
        if there.module() != entry.module() {
            return Err(RegisterError::OverlappingCode);
        }
        let number = self.number.filter(|_| there.register_again());
        let number = number.ok_or(RegisterError::OutOfMemory)?;
        Ok(registration(number, there))
    }

    /// The entry of a registration, unless it is another registry's.
    fn registered(
        &self,
        versions: &Versions,
        registration: &Registration,
    ) -> Option<NonNull<Entry>> {
        // SAFETY: the newest tree is alive while the lock is held.
        let entry = unsafe { last_at_or_before(versions.newest(), registration.start)? };
        // SAFETY: as above.
        let there = unsafe { entry.as_ref() };
        let same = there.module().start() == registration.start
            && there.serial() == registration.serial
            && self.number == Some(registration.registry);
        same.then_some(entry)
    }

    /// Makes sure that there are nodes for a change, and nothing hidden.
    fn prepare<R>(&mut self, versions: &Versions, luggage: &mut Luggage) -> Option<Step<R>> {
        while let Some(node) = luggage.nodes.pop() {
            self.spares.push(node);
        }
        let wanted = nodes_for(versions);
        if self.spares.len() < wanted {
            return Some(Step::Nodes(wanted));
        }
        let hidden = self.hidden.pop()?;
        self.remove_entry(versions, luggage, hidden);
        Some(Step::Again)
    }

    /// The number of this registry, if there is one left.
    fn number(&mut self) -> Option<RegistryNumber> {
        self.number = self.number.or_else(RegistryNumber::new);
        self.number
    }

    /// Inserts the module in the luggage, which overlaps no other. There are nodes enough.
    fn insert_prepared(
        &mut self,
        versions: &Versions,
        luggage: &mut Luggage,
        number: RegistryNumber,
    ) -> Registration {
        self.serial += 1;
        let entry = luggage.entry.take();
        let entry = Box::leak(entry.expect("brought along"));
        entry.set_serial(self.serial);
        let registration = registration(number, entry);
        let entry = NonNull::from(entry);
        // SAFETY: the newest tree is alive until it is settled; the entry is alive until it is
        // removed and settled.
        unsafe {
            self.change(versions, |change, root| {
                change.insert(root, registration.start, entry)
            });
        };
        self.settle(versions, luggage);
        registration
    }

    /// Removes a module from the tree. There are nodes enough.
    fn remove_entry(&mut self, versions: &Versions, luggage: &mut Luggage, entry: NonNull<Entry>) {
        // SAFETY: the entry is in the tree, which is alive.
        let start = unsafe { entry.as_ref() }.module().start();
        let Some(root) = NonNull::new(versions.newest()) else {
            return;
        };
        // SAFETY: the newest tree is alive until it is settled, and so is the entry, which is in no
        // other chain.
        unsafe {
            self.change(versions, |change, _| change.remove(root, start));
            self.retired.recent().entries.push(entry);
        }
        self.settle(versions, luggage);
    }

    /// Publishes a changed tree.
    ///
    /// # Safety
    ///
    /// `make` returns a tree that stays alive until what replaces it is settled.
    unsafe fn change(
        &mut self,
        versions: &Versions,
        make: impl FnOnce(Change<'_, Entry>, *mut Node) -> *mut Node,
    ) {
        let change = Change {
            spares: &mut self.spares,
            replaced: &mut self.retired.recent().nodes,
        };
        let root = make(change, versions.newest());
        // SAFETY: the lock admits one writer, and the caller guarantees the rest.
        unsafe { versions.publish(root) }
    }
}

/// Nodes that the next change needs at most.
fn nodes_for(versions: &Versions) -> usize {
    // SAFETY: the newest tree is alive while the lock is held.
    unsafe { nodes_of_a_change(versions.newest()) }
}

fn registration(registry: RegistryNumber, entry: &Entry) -> Registration {
    Registration {
        registry,
        start: entry.module().start(),
        serial: entry.serial(),
    }
}
