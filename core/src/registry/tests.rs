use super::*;
use crate::module_maps::Matching;
use crate::stack_map::StackMap;
use alloc::vec::Vec;
use static_assertions::assert_impl_all;

assert_impl_all!(StackMapRegistry: Send, Sync);
assert_impl_all!(Registration: Send, Sync);

fn module(bytes: u32, safepoint: u32, word: u32) -> ModuleStackMaps {
    let mut module = ModuleStackMaps::new(bytes, Matching::Exact);
    module.function(0..bytes).unwrap();
    let map = StackMap::new(None, [word]).unwrap();
    module.safepoint(safepoint, map).unwrap();
    module
}

fn live_words(registry: &StackMapRegistry, pc: usize) -> Option<Vec<u32>> {
    match registry.read().find(pc) {
        Found::Wasm(Some(map)) => Some(map.live_words().collect()),
        _ => None,
    }
}

fn unregister(
    registry: &StackMapRegistry,
    registration: Registration,
) -> Result<(), UnregisterError> {
    // SAFETY: these tests run no compiled code.
    unsafe { registry.unregister(registration) }
}

#[test]
fn each_return_address_finds_its_module() {
    let registry = StackMapRegistry::new();
    for (base, word) in [(0x3000, 3), (0x1000, 1), (0x2000, 2)] {
        registry.register(base, module(0x100, 0x10, word)).unwrap();
    }
    for (base, word) in [(0x1000, 1), (0x2000, 2), (0x3000, 3)] {
        assert_eq!(live_words(&registry, base + 0x10), Some(vec![word]));
        assert_eq!(live_words(&registry, base + 0x11), None);
        assert!(!registry.is_code(base), "no call ends where code begins");
        assert!(registry.is_code(base + 0x100), "a call may end the code");
        assert!(!registry.is_code(base + 0x101));
    }
}

#[test]
fn code_without_functions_is_not_wasm() {
    let registry = StackMapRegistry::new();
    let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
    module.function(0x40..0x80).unwrap();
    registry.register(0x1000, module).unwrap();
    for (offset, wasm) in [(0x20, false), (0x41, true), (0x80, true), (0x81, false)] {
        let pc = 0x1000 + offset;
        assert!(registry.is_code(pc));
        assert_eq!(registry.is_wasm(pc), wasm);
        assert_eq!(registry.module_at(pc), Some(0x1000..0x1100));
        assert_eq!(registry.function_at(pc), wasm.then_some(0x1040..0x1080));
    }
    for elsewhere in [0x1000, 0x1101] {
        assert_eq!(registry.module_at(elsewhere), None);
        assert_eq!(registry.function_at(elsewhere), None);
    }
}

#[test]
fn overlap_is_an_error_and_changes_nothing() {
    let registry = StackMapRegistry::new();
    registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    for (base, bytes) in [
        (0xf80, 0x100),
        (0x1080, 0x100),
        (0x1040, 0x20),
        (0xf00, 0x400),
    ] {
        assert_eq!(
            registry.register(base, module(bytes, 0x10, 2)),
            Err(RegisterError::OverlappingCode)
        );
    }
    assert_eq!(
        registry.register(0x1000, module(0x100, 0x10, 2)),
        Err(RegisterError::OverlappingCode)
    );
    assert_eq!(live_words(&registry, 0x1010), Some(vec![1]));
    registry.register(0xf00, module(0x100, 0x10, 2)).unwrap();
    registry.register(0x1100, module(0x100, 0x10, 3)).unwrap();
}

#[test]
fn the_end_of_the_address_space_is_an_error() {
    let registry = StackMapRegistry::new();
    assert_eq!(
        registry.register(usize::MAX - 0x10, module(0x100, 0x10, 1)),
        Err(RegisterError::AddressOverflow)
    );
}

#[test]
fn registrations_are_counted() {
    let registry = StackMapRegistry::new();
    let first = registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    let second = registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    unregister(&registry, first).unwrap();
    assert_eq!(live_words(&registry, 0x1010), Some(vec![1]));
    unregister(&registry, second).unwrap();
    assert!(!registry.is_code(0x1010));
    registry.register(0x1080, module(0x100, 0x10, 2)).unwrap();
}

#[test]
fn a_foreign_registration_comes_back() {
    let (ours, theirs) = (StackMapRegistry::new(), StackMapRegistry::new());
    ours.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    let foreign = theirs.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    let UnregisterError(foreign) = unregister(&ours, foreign).unwrap_err();
    assert!(ours.is_code(0x1010));
    unregister(&theirs, foreign).unwrap();
    assert!(!theirs.is_code(0x1010));
}

/// Defect: a registration was known by addresses, which another registry could have later.
#[test]
fn a_registration_of_a_registry_that_is_gone_is_refused() {
    let mut place = StackMapRegistry::new();
    let old = place.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    place = StackMapRegistry::new();
    let new = place.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    let UnregisterError(old) = unregister(&place, old).unwrap_err();
    assert_ne!(old, new);
    assert!(place.is_code(0x1010));
    unregister(&place, new).unwrap();
}

#[test]
fn a_registration_ends_with_its_module() {
    let registry = StackMapRegistry::new();
    let first = registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    let copy = Registration { ..first };
    unregister(&registry, first).unwrap();
    let second = registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    unregister(&registry, copy).unwrap_err();
    unregister(&registry, second).unwrap();
}

#[test]
fn a_reading_sees_one_version() {
    let registry = StackMapRegistry::new();
    let words = |reading: &Reading<'_>, pc| match reading.find(pc) {
        Found::Wasm(map) => Some(map.map_or(vec![], |map| map.live_words().collect())),
        Found::Outside | Found::Code | Found::Undeclared => None,
    };
    let empty = registry.read();
    let first = registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    let one = registry.read();
    let second = registry.register(0x2000, module(0x100, 0x10, 2)).unwrap();
    unregister(&registry, first).unwrap();
    let other = registry.read();
    registry.register(0x1000, module(0x100, 0x10, 3)).unwrap();
    unregister(&registry, second).unwrap();
    registry.reclaim();
    let last = registry.read();
    for (reading, expected) in [
        (&empty, [None, None]),
        (&one, [Some(1), None]),
        (&other, [None, Some(2)]),
        (&last, [Some(3), None]),
    ] {
        let expected = expected.map(|word| word.map(|word| vec![word]));
        assert_eq!([0x1010, 0x2010].map(|pc| words(reading, pc)), expected);
    }
}

/// What interrupts a writer, as a signal handler does, is a reader like any other.
#[test]
fn nobody_waits_while_a_writer_holds_the_lock() {
    let registry = StackMapRegistry::new();
    registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    let interrupted = registry.writer.lock();
    assert_eq!(live_words(&registry, 0x1010), Some(vec![1]));
    assert!(registry.is_wasm(0x1010));
    registry.reclaim();
    drop(interrupted);
}

/// What `registry` has put aside: nodes and modules.
fn put_aside(registry: &StackMapRegistry) -> (usize, usize) {
    registry.writer.lock().put_aside()
}

#[test]
fn what_was_replaced_is_freed_when_its_readers_have_gone() {
    let registry = StackMapRegistry::new();
    let registration = registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
    assert_eq!(put_aside(&registry), (0, 0), "there was no reader");
    let reading = registry.read();
    unregister(&registry, registration).unwrap();
    assert_eq!(put_aside(&registry), (1, 1));
    for base in [0x2000, 0x3000] {
        registry.register(base, module(0x100, 0x10, 1)).unwrap();
    }
    registry.reclaim();
    assert_eq!(put_aside(&registry), (2, 1), "the reader is still there");
    drop(reading);
    registry.reclaim();
    assert_eq!(put_aside(&registry), (0, 0));
}

/// With one counter of readers, nothing would ever be freed here.
#[test]
fn readers_that_relieve_each_other_do_not_keep_garbage() {
    let registry = StackMapRegistry::new();
    let mut reading = registry.read();
    for _ in 0..100 {
        let registration = registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
        let next = registry.read();
        drop(core::mem::replace(&mut reading, next));
        unregister(&registry, registration).unwrap();
        let next = registry.read();
        drop(core::mem::replace(&mut reading, next));
        let (nodes, modules) = put_aside(&registry);
        assert!(
            nodes <= 8 && modules <= 4,
            "{nodes} nodes, {modules} modules"
        );
    }
}

#[test]
fn any_registrations_agree_with_a_list() {
    arbtest::arbtest(|u| {
        let registry = StackMapRegistry::new();
        let mut there: Vec<(usize, u32, Registration)> = Vec::new();
        while !u.is_empty() {
            if !there.is_empty() && u.ratio(1, 3)? {
                let (_, _, registration) = there.swap_remove(u.choose_index(there.len())?);
                unregister(&registry, registration).unwrap();
                continue;
            }
            let base = u.int_in_range(0..=0x1000_usize)?;
            let bytes = u.int_in_range(1..=0x200)?;
            let end = base + bytes as usize;
            let same = there
                .iter()
                .any(|other| (other.0, other.1) == (base, bytes));
            let overlaps = |other: &(usize, u32, Registration)| {
                base < other.0 + other.1 as usize && other.0 < end
            };
            let free = same || !there.iter().any(overlaps);
            match registry.register(base, module(bytes, bytes, 1)) {
                Ok(registration) => {
                    assert!(free, "{base:#x}..{end:#x} overlaps");
                    there.push((base, bytes, registration));
                }
                Err(error) => {
                    assert_eq!(error, RegisterError::OverlappingCode);
                    assert!(!free, "{base:#x}..{end:#x} does not overlap");
                }
            }
        }
        for pc in 0..0x1300 {
            let inside = |other: &(usize, u32, Registration)| {
                (other.0 + 1..=other.0 + other.1 as usize).contains(&pc)
            };
            assert_eq!(registry.is_wasm(pc), there.iter().any(inside), "{pc:#x}");
        }
        Ok(())
    });
}
