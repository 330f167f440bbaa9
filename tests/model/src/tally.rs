//! What cases have done: a model that does nothing agrees with everything.

use core::fmt;
use std::collections::BTreeMap;

/// How often operations ran and outcomes came.
#[derive(Debug, Default)]
pub struct Tally {
    /// Operations of all kinds.
    pub operations: u64,
    /// Boxes that died.
    pub boxes: u64,
    /// Boxes that collections of tables freed.
    pub freed: u64,
    /// Boxes that cycle collections freed.
    pub unlinked: u64,
    /// How often each outcome came, and each operation did something.
    pub events: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    /// Adds what another tally has.
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.boxes += other.boxes;
        self.freed += other.freed;
        self.unlinked += other.unlinked;
        for (event, count) in &other.events {
            *self.events.entry(event).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operations,
            boxes,
            freed,
            unlinked,
            events,
        } = self;
        write!(
            f,
            "{operations} operations, {boxes} boxes died: {freed} by collections, {unlinked} in cycles"
        )?;
        for (event, count) in events {
            write!(f, "\n{count:>12} {event}")?;
        }
        Ok(())
    }
}
