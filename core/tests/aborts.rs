//! What ends the process, and with which words.
//!
//! Each case runs in a child process: the test binary starts itself again. Miri starts none.

#![cfg(not(miri))]

use std::cell::Cell;
use std::env;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::process::{Command, Output};
use vmexternref_core::{
    Frame, Matching, ModuleStackMaps, Offsets, RecordedWalker, StackMap, StackMapRegistry,
    StackWalker, VMExternRef, VMExternRefActivationsTable, WalkEnd, drop_extern_ref, gc,
    set_quarantine,
};

const ROLE: &str = "VMEXTERNREF_TEST_CHILD";
const LIMIT: usize = usize::MAX >> 4;

/// A command that starts this test binary again, and runs the test `name` alone.
///
/// On a foreign processor, `VMEXTERNREF_TEST_RUNNER` is the emulator with its options.
fn this_binary(name: &str) -> Command {
    let runner = env::var("VMEXTERNREF_TEST_RUNNER").unwrap_or_default();
    let binary = env::current_exe().expect("a test binary");
    let words = runner.split_whitespace().map(OsString::from);
    let mut words = words.chain([binary.into_os_string()]);
    let mut command = Command::new(words.next().expect("the binary at least"));
    command.args(words).args(["--exact", name, "--nocapture"]);
    command
}

/// Runs `case` in a child process that runs the test `name` alone.
fn in_child(name: &str, case: impl FnOnce()) -> Option<Output> {
    if env::var_os(ROLE).is_some() {
        case();
        return None;
    }
    let child = this_binary(name).env(ROLE, "1").output();
    Some(child.expect("the child starts"))
}

/// The child was ended by a signal, and said so many words.
fn assert_aborted(child: Option<Output>, words: &[&str]) {
    let Some(child) = child else { return };
    let message = String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success(), "it ended well: {message}");
    assert_eq!(child.status.code(), None, "an abort is a signal: {message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

fn set_count(reference: &VMExternRef, count: usize) {
    let offset = usize::from(Offsets::HOST.ref_count());
    let word = core::ptr::with_exposed_provenance_mut::<usize>(reference.as_raw().addr() + offset);
    // SAFETY: this word is the count, which compiled code writes in the same way.
    unsafe { word.write(count) }
}

#[test]
fn cloning_stops_at_the_limit() {
    let reference = VMExternRef::new(());
    set_count(&reference, LIMIT - 1);
    core::mem::forget(reference.clone());
    assert_eq!(reference.strong_count(), LIMIT);
    let child = in_child("cloning_stops_at_the_limit", || {
        core::mem::forget(reference.clone());
    });
    set_count(&reference, 1);
    assert_aborted(child, &["overflowed"]);
}

/// A word whose box is freed, with its memory in the quarantine.
fn freed() -> *mut u8 {
    struct FreedType;
    let reference = VMExternRef::new(FreedType);
    let raw = reference.as_raw();
    drop(reference);
    raw
}

/// Uses a word.
type Use = fn(*mut u8);

/// Defect: a reference that nobody counted was freed while it was used, and nobody said a word.
#[test]
fn each_use_of_a_freed_reference_is_told() {
    if set_quarantine(16) == 0 {
        return; // A build without a quarantine has nothing to tell.
    }
    let name = "each_use_of_a_freed_reference_is_told";
    // SAFETY: each of these breaks the contract on purpose; the quarantine keeps the memory.
    let uses: [(&str, Use); 7] = unsafe {
        [
            ("passed to `from_raw`", |raw| {
                drop(VMExternRef::from_raw(raw));
            }),
            ("passed to `from_raw`", |raw| {
                drop(VMExternRef::clone_from_raw(raw));
            }),
            ("freed again", |raw| drop_extern_ref(raw)),
            ("cloned", |raw| use_late(raw, |late| drop(late.clone()))),
            ("downcast", |raw| {
                use_late(raw, |late| assert!(late.downcast_ref::<u32>().is_none()));
            }),
            ("counted", |raw| {
                use_late(raw, |late| assert_eq!(late.strong_count(), 0));
            }),
            ("inserted", |raw| {
                let table = VMExternRefActivationsTable::new();
                let late = late(raw);
                drop(table.try_insert_without_gc(late));
            }),
        ]
    };
    for (index, (words, use_it)) in uses.into_iter().enumerate() {
        if env::var(ROLE).is_ok_and(|role| role != index.to_string()) {
            continue;
        }
        if env::var_os(ROLE).is_some() {
            use_it(freed());
            return;
        }
        let child = this_binary(name).env(ROLE, index.to_string()).output();
        let child = child.expect("the child starts");
        assert_aborted(
            Some(child),
            &["use of a freed reference", "FreedType", words],
        );
    }
}

/// A reference made before its box was freed, as a host has that forgot to count.
fn late(raw: *mut u8) -> VMExternRef {
    // SAFETY: a reference is the address of its box; that this one is freed is what the test is
    // about.
    unsafe { core::mem::transmute::<*mut u8, VMExternRef>(raw) }
}

fn use_late(raw: *mut u8, f: impl FnOnce(&VMExternRef)) {
    let late = core::mem::ManuallyDrop::new(late(raw));
    f(&late);
}

/// The registry and the walker of one frame with one live word.
fn one_frame(stack: &[usize; 1]) -> (StackMapRegistry, RecordedWalker) {
    let registry = StackMapRegistry::new();
    let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
    module.function(0..0x100).expect("a function");
    let map = StackMap::new(None, [0]).expect("a map");
    module.safepoint(0x10, map).expect("a safepoint");
    registry.register(0x1000, module).expect("registered");
    let frame = Frame::of_unknown_code(0x1010, Some(stack.as_ptr().expose_provenance()), None);
    // SAFETY: the tests collect with this walker while `stack` is the only frame.
    let walker = unsafe { RecordedWalker::new(vec![frame], WalkEnd::Complete) };
    (registry, walker)
}

#[test]
fn a_freed_reference_in_a_frame_is_told_with_its_place() {
    if set_quarantine(16) == 0 {
        return; // A build without a quarantine has nothing to tell.
    }
    for verifies in [false, true] {
        let child = in_child(
            "a_freed_reference_in_a_frame_is_told_with_its_place",
            || {
                let table = VMExternRefActivationsTable::new();
                table.set_verification(verifies);
                let stack = [freed().addr()];
                let (registry, walker) = one_frame(&stack);
                // SAFETY: the frame holds a freed reference, which is what the test is about.
                unsafe { gc(&registry, &table, &walker) };
            },
        );
        let words = [
            "use of a freed reference",
            "FreedType",
            "pc 0x1010",
            "slot 0x",
        ];
        assert_aborted(child, &words);
    }
}

struct Panics(Cell<bool>);

// SAFETY: it breaks the contract on purpose.
unsafe impl StackWalker for Panics {
    fn walk(&self, _: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        assert!(self.0.get(), "lost on the stack");
        WalkEnd::Complete
    }
}

/// Defect: marks stayed on other contexts' references, and destructors ran at the wrong time.
#[test]
fn a_walker_that_unwinds_aborts() {
    let child = in_child("a_walker_that_unwinds_aborts", || {
        let (registry, table) = (StackMapRegistry::new(), VMExternRefActivationsTable::new());
        let walker = Panics(Cell::new(false));
        let walk = std::panic::AssertUnwindSafe(|| {
            // SAFETY: there are no frames.
            unsafe { gc(&registry, &table, &walker) };
        });
        let _ = std::panic::catch_unwind(walk);
    });
    assert_aborted(child, &["lost on the stack", "a stack walker unwound"]);
}
