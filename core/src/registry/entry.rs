//! A registered module.

use super::chain::Linked;
use crate::module_maps::{Found, Module, Place};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// A module that the tree of a registry refers to.
#[derive(Debug)]
pub(super) struct Entry {
    module: Module,
    /// Distinct for each entry that this registry ever had.
    serial: u64,
    /// Registrations that were not taken back; only writers use it, one at a time.
    registrations: AtomicUsize,
    /// Whether it was unregistered, but is still in the tree.
    is_hidden: AtomicBool,
    link: AtomicPtr<Self>,
}

impl Linked for Entry {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

impl Entry {
    /// An entry that was registered once.
    pub(super) fn new(module: Module) -> Self {
        Self {
            module,
            serial: 0,
            registrations: AtomicUsize::new(1),
            is_hidden: AtomicBool::new(false),
            link: AtomicPtr::new(ptr::null_mut()),
        }
    }

    pub(super) fn module(&self) -> &Module {
        &self.module
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) fn set_serial(&mut self, serial: u64) {
        self.serial = serial;
    }

    /// What the return address behind the call that ends at address `call` is.
    #[inline]
    pub(super) fn find(&self, call: usize) -> Found<'_> {
        // Relaxed: no frame of a hidden module is on a stack, so that no answer about it matters to
        // a walk.
        if self.is_hidden.load(Relaxed) {
            return Found::Outside;
        }
        self.module.find(call)
    }

    /// Where the return address behind the call that ends at address `call` is.
    pub(super) fn place(&self, call: usize) -> Option<Place> {
        if self.is_hidden() {
            return None;
        }
        self.module.place(call)
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.is_hidden.load(Relaxed)
    }

    /// Hides the module from readers of every version.
    pub(super) fn hide(&self) {
        self.is_hidden.store(true, Relaxed);
    }

    /// Counts one more registration, unless the counter is at its end.
    pub(super) fn register_again(&self) -> bool {
        let more = self.registrations.load(Relaxed).checked_add(1);
        more.inspect(|&more| self.registrations.store(more, Relaxed))
            .is_some()
    }

    /// Takes one registration back, unless it is the last one.
    pub(super) fn unregister_once(&self) -> bool {
        let left = self.registrations.load(Relaxed) - 1;
        let others = left != 0;
        if others {
            self.registrations.store(left, Relaxed);
        }
        others
    }
}
