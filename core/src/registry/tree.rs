//! Changes of a tree, each of which makes a new version of it.
//!
//! A change builds new nodes for the path from the root to one leaf, and
//! shares all others with the version before. No node but the root gets fewer
//! than [`LEAST`] rows, so that a path is short however entries came and went.

use super::chain::{Boxes, Chain};
use super::node::{Below, LEAST, MOST, Node, Row};
use alloc::boxed::Box;
use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::{self, NonNull};

/// Nodes that a change of the tree below `root` needs at most.
///
/// Two on each level, where one is split or two share their rows, and a root above.
///
/// # Safety
///
/// `root` is null, or alive.
pub(super) unsafe fn nodes_of_a_change<E>(root: *const Node<E>) -> usize {
    // SAFETY: the caller guarantees that the root is alive, if there is one.
    let levels = unsafe { root.as_ref() }.map_or(0, |root| root.level() as usize + 1);
    2 * levels + 1
}

/// The entry with the greatest key up to `key` in the tree below `root`.
///
/// # Safety
///
/// `root` is null, or its tree is alive.
#[inline(never)]
pub(super) unsafe fn last_at_or_before<E>(root: *const Node<E>, key: usize) -> Option<NonNull<E>> {
    // SAFETY: the caller guarantees that the tree is alive.
    unsafe { root.as_ref()?.last_at_or_before(key) }
}

/// Visits all nodes and entries of the tree below `node`, each node after what is below it.
///
/// # Safety
///
/// The tree is alive when this begins, and each node until it is visited.
pub(super) unsafe fn for_each<E>(node: NonNull<Node<E>>, visit: &mut impl FnMut(Below<E>)) {
    // SAFETY: the caller guarantees that this node is alive, as it is visited last.
    let len = unsafe { node.as_ref() }.len();
    for index in 0..len {
        // SAFETY: as above.
        match unsafe { node.as_ref() }.below(index) {
            // SAFETY: the caller guarantees that the tree is alive.
            Below::Node(node) => unsafe { for_each(node, visit) },
            entry => visit(entry),
        }
    }
    visit(Below::Node(node));
}

/// A change of a tree.
#[derive(Debug)]
pub(super) struct Change<'c, E> {
    /// Where the new nodes come from: as many as [`nodes_of_a_change`] says, or more.
    pub(super) spares: &'c mut Boxes<Node<E>>,
    /// Where the nodes go that are not in the new version.
    pub(super) replaced: &'c mut Chain<Node<E>>,
}

impl<E> Change<'_, E> {
    /// The root of a tree with one more entry, at a key that is not there yet.
    ///
    /// # Safety
    ///
    /// `root` is null, or its tree is alive, and stays so until `replaced` is freed.
    pub(super) unsafe fn insert(
        mut self,
        root: *mut Node<E>,
        key: usize,
        entry: NonNull<E>,
    ) -> *mut Node<E> {
        let rows = match NonNull::new(root) {
            // SAFETY: the caller guarantees that the tree is alive.
            Some(root) => unsafe { self.change(root, key, Some(entry)) },
            None => Rows::leaf(key, entry),
        };
        self.root(rows)
    }

    /// The root of a tree without the entry at `key`, which is there.
    ///
    /// # Safety
    ///
    /// As for [`insert`](Self::insert).
    pub(super) unsafe fn remove(mut self, root: NonNull<Node<E>>, key: usize) -> *mut Node<E> {
        // SAFETY: the caller guarantees that the tree is alive.
        let rows = unsafe { self.change(root, key, None) };
        self.root(rows)
    }

    /// The rows that belong in the place of `node`, which may be too many or too few for one node.
    ///
    /// With `entry` it is inserted at `key`, else the entry there is removed.
    ///
    /// # Safety
    ///
    /// As for [`insert`](Self::insert).
    unsafe fn change(
        &mut self,
        node: NonNull<Node<E>>,
        key: usize,
        entry: Option<NonNull<E>>,
    ) -> Rows<E> {
        // SAFETY: the caller guarantees that the tree is alive.
        let mut rows = unsafe { self.replace(node) };
        let rank = rows.rank(key);
        if rows.level == 0 {
            rows.appended = entry.is_some() && rank == rows.len;
            match entry {
                Some(entry) => rows.put(rank..rank, &Rows::leaf(key, entry)),
                None => rows.put(rank - 1..rank, &Rows::none(0)),
            }
            return rows;
        }
        let at = rank.saturating_sub(1);
        // SAFETY: the caller guarantees that the tree is alive.
        let mut below = unsafe { self.change(rows.node(at), key, entry) };
        let mut range = at..at + 1;
        if below.len < LEAST {
            range = if at == 0 { 0..2 } else { at - 1..at + 1 };
            let neighbour = if at == 0 { 1 } else { at - 1 };
            // SAFETY: the caller guarantees that the tree is alive.
            let theirs = unsafe { self.replace(rows.node(neighbour)) };
            below = if at == 0 {
                below.followed_by(&theirs)
            } else {
                theirs.followed_by(&below)
            };
        }
        rows.appended = below.appended && range.end == rows.len;
        rows.put(range, &self.nodes(&below));
        rows
    }

    /// Takes the rows of a node that will not be in the new version.
    ///
    /// # Safety
    ///
    /// The node is alive, and stays so until `replaced` is freed.
    unsafe fn replace(&mut self, node: NonNull<Node<E>>) -> Rows<E> {
        // SAFETY: the caller guarantees that the node is alive; nodes are replaced once, so that it
        // is in no other chain.
        unsafe {
            self.replaced.push(node);
            Rows::of(node.as_ref())
        }
    }

    /// Puts `rows` into one node, or two if they are too many; returns the rows above them.
    ///
    /// Keys that come in rising order, as a compiler's do, never go back to the first of two nodes:
    /// it gets as many rows as it may.
    fn nodes(&mut self, rows: &Rows<E>) -> Rows<E> {
        let first = if rows.len <= MOST {
            rows.len
        } else if rows.appended {
            rows.len - LEAST
        } else {
            rows.len.div_ceil(2)
        };
        let mut above = Rows::none(rows.level + 1);
        for part in rows.as_slice().chunks(first) {
            // The writer has brought as many as a change can need.
            let spare = self.spares.pop();
            let mut node = spare.expect("enough");
            node.fill(rows.level, part);
            let node = NonNull::from(Box::leak(node));
            above.push((part[0].0, node.cast()));
        }
        above
    }

    /// The root above `rows`; null if there are none.
    fn root(&mut self, mut rows: Rows<E>) -> *mut Node<E> {
        if rows.len == 0 {
            return ptr::null_mut();
        }
        while rows.level == 0 || rows.len > 1 {
            rows = self.nodes(&rows);
        }
        rows.node(0).as_ptr()
    }
}

/// Rows of one level on their way from old nodes to new ones.
struct Rows<E> {
    level: u32,
    /// Whether the last row is new, here and on all levels below.
    appended: bool,
    len: usize,
    rows: [Row; 2 * MOST],
    entries: PhantomData<E>,
}

impl<E> Rows<E> {
    #[inline(never)]
    fn none(level: u32) -> Self {
        Self {
            level,
            appended: false,
            len: 0,
            rows: [(0, NonNull::dangling()); 2 * MOST],
            entries: PhantomData,
        }
    }

    /// One row of a leaf.
    fn leaf(key: usize, entry: NonNull<E>) -> Self {
        let mut rows = Self::none(0);
        rows.push((key, entry.cast()));
        rows
    }

    fn of(node: &Node<E>) -> Self {
        let mut rows = Self::none(node.level());
        node.rows().for_each(|row| rows.push(row));
        rows
    }

    fn as_slice(&self) -> &[Row] {
        &self.rows[..self.len]
    }

    fn push(&mut self, row: Row) {
        self.rows[self.len] = row;
        self.len += 1;
    }

    /// Replaces the rows of `range` by `rows`.
    fn put(&mut self, range: Range<usize>, rows: &Self) {
        let (before, after) = (0..range.start, range.end..self.len);
        let mut put = Self::none(self.level);
        for part in [&self.rows[before], rows.as_slice(), &self.rows[after]] {
            part.iter().for_each(|row| put.push(*row));
        }
        (self.len, self.rows) = (put.len, put.rows);
    }

    fn followed_by(mut self, rows: &Self) -> Self {
        self.put(self.len..self.len, rows);
        self
    }

    /// How many keys are at most `key`.
    fn rank(&self, key: usize) -> usize {
        self.as_slice().partition_point(|row| row.0 <= key)
    }

    /// The node to which the row at `index` refers; not in a leaf.
    fn node(&self, index: usize) -> NonNull<Node<E>> {
        debug_assert_ne!(self.level, 0, "the rows of a leaf refer to entries");
        self.as_slice()[index].1.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use alloc::vec::Vec;
    use std::collections::BTreeMap;

    /// A tree of numbers, and the map that it has to agree with.
    struct Host {
        root: *mut Node<usize>,
        model: BTreeMap<usize, Rc<usize>>,
        spares: Boxes<Node<usize>>,
    }

    impl Host {
        fn new() -> Self {
            Self {
                root: ptr::null_mut(),
                model: BTreeMap::new(),
                spares: Boxes::new(),
            }
        }

        /// Makes one change with exactly the nodes that it may need.
        fn change(
            &mut self,
            make: impl FnOnce(Change<'_, usize>, *mut Node<usize>) -> *mut Node<usize>,
        ) {
            let mut replaced = Chain::new();
            // SAFETY: the host keeps the tree.
            let nodes = unsafe { nodes_of_a_change(self.root) };
            while self.spares.len() < nodes {
                self.spares.push(Box::new(Node::new()));
            }
            let (spares, replaced_nodes) = (&mut self.spares, &mut replaced);
            self.root = make(
                Change {
                    spares,
                    replaced: replaced_nodes,
                },
                self.root,
            );
            // SAFETY: the test has no readers.
            let mut free = unsafe { Boxes::take_over(replaced) };
            while let Some(node) = free.pop() {
                self.spares.push(node);
            }
            while self.spares.len() > nodes {
                self.spares.pop();
            }
        }

        fn insert(&mut self, key: usize) {
            // Not a box: what points to its content is invalid when it moves.
            let entry = Rc::new(key);
            let address = NonNull::new(Rc::as_ptr(&entry).cast_mut()).unwrap();
            if self.model.insert(key, entry).is_some() {
                return self.remove_node(key, Some(address));
            }
            // SAFETY: the host keeps the tree, and the entry.
            self.change(|change, root| unsafe { change.insert(root, key, address) });
        }

        fn remove_node(&mut self, key: usize, again: Option<NonNull<usize>>) {
            // SAFETY: the host keeps the tree, which has the key.
            self.change(|change, root| unsafe { change.remove(NonNull::new(root).unwrap(), key) });
            if let Some(entry) = again {
                // SAFETY: the host keeps the tree, and the entry.
                self.change(|change, root| unsafe { change.insert(root, key, entry) });
            }
        }

        fn remove(&mut self, key: usize) {
            if self.model.contains_key(&key) {
                self.remove_node(key, None);
                self.model.remove(&key);
            }
        }

        fn check(&self) {
            let mut keys = Vec::new();
            if let Some(root) = NonNull::new(self.root) {
                // SAFETY: the host keeps the tree.
                unsafe {
                    check_node(root, true);
                    for_each(root, &mut |below| {
                        if let Below::Entry(entry) = below {
                            keys.push(*entry.as_ref());
                        }
                    });
                }
            }
            assert_eq!(keys, self.model.keys().copied().collect::<Vec<_>>());
        }

        fn check_search(&self, key: usize) {
            // SAFETY: the host keeps the tree and its entries.
            let found = unsafe { last_at_or_before(self.root, key).map(|entry| *entry.as_ref()) };
            let expected = self.model.range(..=key).next_back();
            assert_eq!(found, expected.map(|(&key, _)| key));
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            let mut nodes = Chain::new();
            if let Some(root) = NonNull::new(self.root) {
                // SAFETY: the host keeps the tree, and nobody else has it.
                unsafe {
                    for_each(root, &mut |below| {
                        if let Below::Node(node) = below {
                            nodes.push(node);
                        }
                    });
                }
            }
            // SAFETY: as above.
            drop(unsafe { Boxes::take_over(nodes) });
        }
    }

    /// Checks the shape below `node`, and returns its least key.
    ///
    /// # Safety
    ///
    /// The tree is alive.
    unsafe fn check_node(node: NonNull<Node<usize>>, is_root: bool) -> usize {
        // SAFETY: the caller guarantees that the tree is alive.
        let node = unsafe { node.as_ref() };
        let least = match (is_root, node.level()) {
            (false, _) => LEAST,
            (true, 0) => 1,
            (true, _) => 2,
        };
        assert!((least..=MOST).contains(&node.len()), "{} rows", node.len());
        for (index, (key, _)) in node.rows().enumerate() {
            let least_key = match node.below(index) {
                // SAFETY: the caller guarantees that the tree is alive.
                Below::Entry(entry) => unsafe { *entry.as_ref() },
                Below::Node(below) => {
                    // SAFETY: as above.
                    assert_eq!(unsafe { below.as_ref() }.level() + 1, node.level());
                    // SAFETY: as above.
                    unsafe { check_node(below, false) }
                }
            };
            assert_eq!(key, least_key);
        }
        node.rows().next().map_or(usize::MAX, |row| row.0)
    }

    #[test]
    fn any_changes_agree_with_an_ordered_map() {
        arbtest::arbtest(|u| {
            let mut host = Host::new();
            let keys = u.int_in_range(1..=300_usize)?;
            while !u.is_empty() {
                let key = u.int_in_range(0..=keys)?;
                if u.ratio(1, 2)? {
                    host.insert(key);
                } else {
                    host.remove(key);
                }
                host.check_search(u.int_in_range(0..=keys + 1)?);
            }
            host.check();
            Ok(())
        });
    }

    #[test]
    fn trees_grow_and_vanish_in_any_order() {
        const KEYS: usize = if cfg!(miri) { 100 } else { 5000 };
        // A stride without a common divisor with the number of keys visits all of them.
        for (inserted, removed) in [
            (1, 1),
            (1, KEYS - 1),
            (KEYS - 1, 1),
            (1871, 1),
            (1, 1871),
            (1871, 2903),
        ] {
            let mut host = Host::new();
            for step in 0..KEYS {
                host.insert(step * inserted % KEYS);
            }
            host.check();
            for key in 0..=KEYS {
                host.check_search(key);
            }
            for step in 0..KEYS {
                host.remove(step * removed % KEYS);
                if step % 100 == 0 {
                    host.check();
                }
            }
            assert!(host.root.is_null());
        }
    }

    #[test]
    fn keys_that_come_in_rising_order_fill_their_nodes() {
        const KEYS: usize = if cfg!(miri) { 100 } else { 1000 };
        let mut host = Host::new();
        (0..KEYS).for_each(|key| host.insert(key));
        host.check();
        let mut leaves = 0;
        let root = NonNull::new(host.root).unwrap();
        // SAFETY: the host keeps the tree.
        unsafe {
            for_each(root, &mut |below| {
                if let Below::Node(node) = below {
                    leaves += usize::from(node.as_ref().level() == 0);
                }
            });
        }
        assert!(leaves <= KEYS / (MOST - LEAST), "{leaves} leaves");
    }

    #[test]
    fn the_ends_of_the_address_space_are_keys_too() {
        let mut host = Host::new();
        for key in [0, usize::MAX - 1, 1] {
            host.insert(key);
        }
        for key in [0, 1, 2, usize::MAX - 2, usize::MAX - 1, usize::MAX] {
            host.check_search(key);
        }
    }
}
