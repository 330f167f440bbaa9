//! The nodes of a sorted tree that is never changed, only replaced.
//!
//! ```text
//!   level 1        [ 0x1000 | 0x5000 ]          a key is the least one below it
//!                      |        |
//!   level 0   [0x1000 | 0x3000] [0x5000 | 0x7000 | 0x9000]
//!                 |        |        |        |        |
//!               entry    entry    entry    entry    entry
//! ```
//!
//! All leaves are equally deep. A node owns nothing: whoever publishes a tree
//! keeps its nodes and entries alive.

use super::chain::Linked;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicPtr;

/// Rows of a node at most: a node has 256 bytes on a 64-bit machine.
pub(super) const MOST: usize = 15;

/// Rows of a node at least, unless it is the root.
pub(super) const LEAST: usize = MOST / 3;

/// Some rows of a tree, in rising order of key.
#[derive(Debug)]
pub(super) struct Node<E> {
    /// How many levels are below.
    level: u32,
    len: u32,
    /// From `len` on they are `usize::MAX`.
    keys: [usize; MOST],
    /// Nodes of the level below, or the entries of a leaf; dangling from `len` on.
    below: [NonNull<()>; MOST],
    link: AtomicPtr<Self>,
    entries: PhantomData<E>,
}

// SAFETY: a node is as good as shared references to its entries.
unsafe impl<E: Send + Sync> Send for Node<E> {}

// SAFETY: nothing changes a shared node but its link, which is atomic, and its entries may be
// shared.
unsafe impl<E: Send + Sync> Sync for Node<E> {}

impl<E> Linked for Node<E> {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

/// What a row refers to.
#[derive(Debug)]
pub(super) enum Below<E> {
    Node(NonNull<Node<E>>),
    Entry(NonNull<E>),
}

/// A key, and the address of what it is the key of.
pub(super) type Row = (usize, NonNull<()>);

impl<E> Node<E> {
    /// A node without rows, to be filled later.
    pub(super) const fn new() -> Self {
        Self {
            level: 0,
            len: 0,
            keys: [usize::MAX; MOST],
            below: [NonNull::dangling(); MOST],
            link: AtomicPtr::new(ptr::null_mut()),
            entries: PhantomData,
        }
    }

    /// Replaces everything by `rows` of `level`, at most [`MOST`] of them, in rising order of key.
    pub(super) fn fill(&mut self, level: u32, rows: &[Row]) {
        self.keys = [usize::MAX; MOST];
        (self.level, self.len) = (level, 0);
        let places = self.keys.iter_mut().zip(&mut self.below);
        for ((key, below), row) in places.zip(rows) {
            (*key, *below) = *row;
            self.len += 1;
        }
    }

    pub(super) fn level(&self) -> u32 {
        self.level
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// What the row at `index` refers to.
    #[inline]
    pub(super) fn below(&self, index: usize) -> Below<E> {
        let below = self.below[..self.len()][index];
        match self.level {
            0 => Below::Entry(below.cast()),
            _ => Below::Node(below.cast()),
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        let rows = self.keys.iter().copied().zip(self.below);
        rows.take(self.len())
    }

    /// How many keys are at most `key`.
    ///
    /// It compares with every fourth key and then with the three before the next, so that there is
    /// nothing to predict and little to wait for.
    #[inline]
    pub(super) fn rank(&self, key: usize) -> usize {
        const { assert!(MOST == 15, "three keys that part four groups of three") }
        let passes = |index: usize| usize::from(self.keys[index] <= key);
        let group = 4 * (passes(3) + passes(7) + passes(11));
        let rank = group + passes(group) + passes(group + 1) + passes(group + 2);
        rank.min(self.len())
    }

    /// The last entry of the tree whose key is at most `key`.
    ///
    /// # Safety
    ///
    /// The tree below this node is alive.
    #[inline]
    pub(super) unsafe fn last_at_or_before(&self, key: usize) -> Option<NonNull<E>> {
        let mut node = self;
        loop {
            match node.below(node.rank(key).checked_sub(1)?) {
                // SAFETY: the caller guarantees that the tree is alive.
                Below::Node(below) => node = unsafe { below.as_ref() },
                Below::Entry(entry) => return Some(entry),
            }
        }
    }
}
