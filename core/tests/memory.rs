//! How much memory the registry takes, and when.
//!
//! A test binary of its own, because it replaces the global allocator. The
//! allocator counts on each thread what this thread holds.

#![expect(clippy::unwrap_used, reason = "a test that panics says what failed")]

use core::cell::Cell;
use core::fmt::{self, Write};
use std::alloc::{GlobalAlloc, Layout, System};
use vmexternref_core::{Matching, ModuleStackMaps, Registration, StackMap, StackMapRegistry};

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    /// A registry whose lock must be free whenever memory is requested or freed.
    static WATCHED: Cell<Option<&'static StackMapRegistry>> = const { Cell::new(None) };
    static SEEN: Cell<usize> = const { Cell::new(0) };
    static SEEN_LOCKED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every request goes to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + bytes(layout.size()));
        PEAK.set(PEAK.get().max(HELD.get()));
        watch();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - bytes(layout.size()));
        watch();
        // SAFETY: the memory came from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }
}

/// A size as a number that may be negative: a thread may free what another one has requested.
fn bytes(size: usize) -> isize {
    size.cast_signed()
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Looks whether the watched registry is locked, without memory.
fn watch() {
    if let Some(registry) = WATCHED.get() {
        let mut text = Text([0; 64], 0);
        write!(text, "{registry:?}").expect("the text is short");
        let is_locked = text.0.windows(4).any(|part| part == b"true");
        SEEN.set(SEEN.get() + 1);
        SEEN_LOCKED.set(SEEN_LOCKED.get() + usize::from(is_locked));
    }
}

/// A short text without memory of its own.
struct Text([u8; 64], usize);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.1 + text.len();
        let place = self.0.get_mut(self.1..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.1 = end;
        Ok(())
    }
}

fn module() -> ModuleStackMaps {
    let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
    module.function(0..0x100).unwrap();
    for safepoint in [0x10, 0x20, 0x30] {
        let map = StackMap::new(Some(200), [safepoint, 150]).unwrap();
        module.safepoint(safepoint, map).unwrap();
    }
    module
}

fn register(registry: &StackMapRegistry, index: usize) -> Registration {
    registry.register(0x1000 + 0x100 * index, module()).unwrap()
}

fn unregister(registry: &StackMapRegistry, registration: Registration) {
    // SAFETY: these tests run no compiled code.
    unsafe { registry.unregister(registration) }.unwrap();
}

/// Indices up to `count` in an order without a pattern; `count` has no divisor in common with the
/// stride.
fn shuffled(count: usize, stride: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |step| step * stride % count)
}

#[test]
fn memory_comes_back_with_each_module() {
    const MODULES: usize = if cfg!(miri) { 50 } else { 10_000 };
    let registry = StackMapRegistry::new();
    let before = HELD.get();
    let _ = register(&registry, MODULES);
    let one = HELD.get() - before;
    let mut registrations: Vec<Option<Registration>> = Vec::new();
    registrations.resize_with(MODULES, || None);
    let with_list = HELD.get();
    for index in shuffled(MODULES, 3571) {
        registrations[index] = Some(register(&registry, index));
    }
    let held = HELD.get() - with_list;
    assert!(
        held <= bytes(MODULES) * one,
        "{held} bytes, {one} for the first"
    );
    for (step, index) in shuffled(MODULES, 2713).enumerate() {
        unregister(&registry, registrations[index].take().unwrap());
        let left = bytes(MODULES - step - 1);
        let held = HELD.get() - with_list;
        assert!(held <= left * one + 0x4000, "{held} bytes, {left} modules");
    }
    drop(registrations);
    let left = HELD.get() - before;
    assert!(left <= one + 0x400, "{left} bytes for one, {one} at first");
    drop(registry);
    assert_eq!(HELD.get(), before);
}

#[test]
fn an_empty_registry_holds_nothing() {
    let registry = StackMapRegistry::new();
    let before = HELD.get();
    for round in 1..if cfg!(miri) { 5 } else { 100 } {
        let registrations: Vec<_> = (0..round).map(|at| register(&registry, at)).collect();
        for registration in registrations {
            unregister(&registry, registration);
        }
        assert_eq!(HELD.get(), before, "{round} modules");
    }
}

/// An allocator may run a collection, whose destructors may register code.
#[test]
fn no_memory_is_requested_or_freed_under_the_lock() {
    let registry: &'static StackMapRegistry = Box::leak(Box::default());
    WATCHED.set(Some(registry));
    let mut registrations: Vec<_> = (0..300).map(|at| register(registry, at)).collect();
    // The same module once more, and one that overlaps it.
    registrations.push(register(registry, 0));
    let refused = registry.register(0x1080, module());
    assert!(refused.is_err());
    for registration in registrations {
        unregister(registry, registration);
    }
    registry.reclaim();
    WATCHED.set(None);
    assert_ne!(SEEN.get(), 0, "the allocator was watched");
    assert_eq!(SEEN_LOCKED.get(), 0, "times");
}

#[cfg(feature = "wasmtime-environ")]
mod sections {
    use super::{HELD, PEAK, bytes as size};
    use vmexternref_core::{Matching, ModuleStackMaps, RegisterError, StackMapRegistry};

    /// Runs `f`, and returns how much more than before this thread held at most, too.
    fn peak<R>(f: impl FnOnce() -> R) -> (R, isize) {
        let before = HELD.get();
        PEAK.set(before);
        let result = f();
        (result, PEAK.get() - before)
    }

    /// The bytes of a section of `safepoints` whose maps are at `position`s of `data`.
    fn section(safepoints: u32, position: impl Fn(u32) -> u32, data: &[u32]) -> Vec<u8> {
        let mut words = vec![safepoints];
        words.extend(1..=safepoints);
        words.extend((0..safepoints).map(position));
        words.extend(data);
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn module() -> ModuleStackMaps {
        let mut module = ModuleStackMaps::new(1 << 20, Matching::Exact);
        module.function(0..1 << 20).unwrap();
        module
    }

    /// A map of so many words of bits, the last of which alone is live.
    fn map(words: u32) -> Vec<u32> {
        let mut map = vec![!7, words];
        map.resize(words as usize + 1, 0);
        map.push(1);
        map
    }

    /// Defect: each safepoint had a copy of the map, so that 300 KiB took a gigabyte.
    #[test]
    fn safepoints_that_share_a_large_map_are_read_in_linear_memory() {
        let bytes = section(30_000, |_| 0, &map(16_000));
        let mut module = module();
        let (read, used) = peak(|| module.stack_map_section(&bytes));
        assert_eq!(read, Ok(()));
        assert!(used <= 8 * size(bytes.len()), "{used} bytes to read it");
        let registry = StackMapRegistry::new();
        let before = HELD.get();
        let (registered, used) = peak(|| registry.register(0x1000, module));
        registered.unwrap();
        assert!(used <= 4 * size(bytes.len()), "{used} bytes to register it");
        assert!(HELD.get() <= before + 4 * size(bytes.len()));
        assert!(registry.is_wasm(0x1000 + 30_000));
    }

    #[test]
    fn maps_that_overlap_are_refused_in_linear_memory() {
        // Each pair of numbers is the head of a map, and bits of many others.
        let data = [0x5555_5550, 4096].repeat(14_000);
        let bytes = section(10_000, |index| 2 * index, &data);
        let mut module = module();
        let (read, used) = peak(|| module.stack_map_section(&bytes));
        assert_eq!(read, Err(RegisterError::MalformedSection));
        assert!(used <= 8 * size(bytes.len()), "{used} bytes to refuse it");
    }
}
