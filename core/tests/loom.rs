//! Every interleaving of readers and writers of versions, with every outcome that the memory model
//! allows.
//!
//! `tests/checks/loom.sh` runs it. Versions are not really freed before the end of a model: their
//! cells are written instead, and loom reports a write that a read may overlap.

#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "a test that panics says what failed")]

#[path = "../src/registry/versions.rs"]
mod versions;

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
}

use atomic::{AtomicPtr, AtomicUsize};
use core::ptr::{self, NonNull};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use versions::{Reader, Retired, Versions};

const FREED: usize = usize::MAX;

/// Two cells with the same number.
#[derive(Debug)]
struct Version([UnsafeCell<usize>; 2]);

impl Version {
    fn new(number: usize) -> NonNull<Self> {
        let cells = [UnsafeCell::new(number), UnsafeCell::new(number)];
        NonNull::from(Box::leak(Box::new(Self(cells))))
    }

    fn number(&self) -> usize {
        // SAFETY: loom reports a write at the same time, and the pointer goes no further.
        let [a, b] = self.0.each_ref().map(|cell| cell.with(|at| unsafe { *at }));
        assert_eq!(a, b, "a version is seen as a whole");
        assert_ne!(a, FREED, "a version that is read is not freed");
        a
    }

    fn free(&self) {
        for cell in &self.0 {
            // SAFETY: loom reports any access at the same time, and the pointer goes no further.
            let before = cell.with_mut(|at| unsafe { at.replace(FREED) });
            assert_ne!(before, FREED, "a version is freed once");
        }
    }
}

/// What the registry's lock protects.
struct Writer {
    published: usize,
    retired: Retired<Vec<NonNull<Version>>>,
    freed: Vec<NonNull<Version>>,
}

impl Writer {
    fn settle(&mut self, versions: &Versions<Version>) {
        let freed = self.retired.settle(versions).concat();
        self.free(freed);
    }

    fn free(&mut self, versions: Vec<NonNull<Version>>) {
        for version in &versions {
            // SAFETY: the memory is given back with the registry.
            unsafe { version.as_ref() }.free();
        }
        self.freed.extend(versions);
    }
}

/// Publishes numbers, as the registry does trees.
struct Registry {
    versions: Versions<Version>,
    writer: Mutex<Writer>,
}

// SAFETY: the pointers in the writer are followed under its lock, and else by readers.
unsafe impl Send for Registry {}
// SAFETY: as above.
unsafe impl Sync for Registry {}

impl Registry {
    fn new() -> Arc<Self> {
        let readers = [AtomicUsize::new(0), AtomicUsize::new(0)];
        Arc::new(Self {
            versions: Versions::new(
                AtomicPtr::new(ptr::null_mut()),
                AtomicUsize::new(0),
                readers,
            ),
            writer: Mutex::new(Writer {
                published: 0,
                retired: Retired::new(vec![], vec![]),
                freed: vec![],
            }),
        })
    }

    /// Replaces the version by the next one.
    fn publish(&self) {
        let mut writer = self.writer.lock().unwrap();
        writer.published += 1;
        let old = NonNull::new(self.versions.newest());
        let new = Version::new(writer.published);
        // SAFETY: the lock is held, and the version is only freed after it was settled.
        unsafe { self.versions.publish(new.as_ptr()) };
        writer.retired.recent().extend(old);
        writer.settle(&self.versions);
    }

    /// Frees what can be freed, as `StackMapRegistry::reclaim` does.
    fn reclaim(&self) {
        self.writer.lock().unwrap().settle(&self.versions);
    }

    fn read(&self) -> Reading<'_> {
        Reading(self.versions.read())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A model that failed leaks: another panic would hide its message.
        if std::thread::panicking() {
            return;
        }
        let mut writer = self.writer.lock().unwrap();
        let mut all = core::mem::take(&mut writer.freed);
        all.extend(NonNull::new(self.versions.newest()));
        all.extend(writer.retired.take().concat());
        for version in all {
            // SAFETY: it came from a box, is in one list, and nobody is left who reads it.
            drop(unsafe { Box::from_raw(version.as_ptr()) });
        }
    }
}

struct Reading<'r>(Reader<'r, Version>);

impl Reading<'_> {
    /// The number of the version; 0 before the first.
    fn number(&self) -> usize {
        self.0.version().map_or(0, Version::number)
    }
}

/// Explores the interleavings of `others` and `writer` with at most `preemptions` of them, after
/// `before` publications. When all are done, every version but the newest is freed.
fn check<const OTHERS: usize>(
    preemptions: usize,
    before: usize,
    others: [fn(&Registry); OTHERS],
    writer: fn(&Registry),
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        let registry = Registry::new();
        for _ in 0..before {
            registry.publish();
        }
        let threads = others.map(|work| {
            let registry = Arc::clone(&registry);
            thread::spawn(move || work(&registry))
        });
        writer(&registry);
        for thread in threads {
            thread.join().unwrap();
        }
        registry.reclaim();
        let newest = registry.read().number();
        let writer = registry.writer.lock().unwrap();
        assert_eq!(newest, writer.published);
        assert_eq!(writer.retired.parts(), [&vec![], &vec![]]);
        assert_eq!(writer.freed.len(), newest - 1);
    });
}

fn read_once(registry: &Registry) {
    let reading = registry.read();
    let first = reading.number();
    assert_eq!(reading.number(), first, "a reading sees one version");
}

fn read_twice(registry: &Registry) {
    let first = registry.read().number();
    let second = registry.read().number();
    assert!(first <= second, "{first}, and then {second}");
}

/// The second reading begins before the first ends, so that there is always a reader.
fn relieve(registry: &Registry) {
    let reading = registry.read();
    let next = registry.read();
    let first = reading.number();
    drop(reading);
    assert!(first <= next.number());
}

fn publish_twice(registry: &Registry) {
    registry.publish();
    registry.publish();
}

fn publish_and_reclaim(registry: &Registry) {
    registry.publish();
    registry.reclaim();
}

#[test]
fn a_reader_sees_whole_versions_that_are_alive() {
    check(3, 0, [read_twice], |registry| {
        publish_twice(registry);
        registry.publish();
    });
}

#[test]
fn readers_that_relieve_each_other_see_versions_that_are_alive() {
    check(2, 1, [relieve, read_once], publish_twice);
}

#[test]
fn two_writers_free_nothing_that_is_read() {
    check(3, 1, [read_once, Registry::publish], Registry::publish);
}

#[test]
fn readers_may_join_while_the_counters_turn() {
    check(3, 1, [read_once, read_once], publish_and_reclaim);
}
