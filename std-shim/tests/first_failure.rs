//! What a host without a logger sees of a collection that keeps everything.
#![cfg(feature = "backtrace")]

use std::ffi::OsString;
use std::process::Command;
use vmexternref::{
    GcOutcome, StackMapRegistry, VMExternRef, VMExternRefActivationsTable, gc_with_backtrace,
    insert_with_backtrace,
};

/// Set for the child that collects.
const CHILD: &str = "VMEXTERNREF_FIRST_FAILURE";

/// Fails in the same way three times, and succeeds.
fn collect_in_vain() {
    let (registry, table) = (StackMapRegistry::new(), VMExternRefActivationsTable::new());
    table.insert_without_gc(VMExternRef::new(1));
    for _ in 0..2 {
        // SAFETY: no compiled code is on the stack.
        let report = unsafe { gc_with_backtrace(&registry, &table) };
        assert_eq!(report.outcome, GcOutcome::KeptUnproven);
    }
    let full = VMExternRefActivationsTable::with_capacity(1, 2);
    full.insert_without_gc(VMExternRef::new(2));
    // SAFETY: no compiled code is on the stack.
    let report = unsafe { insert_with_backtrace(&full, VMExternRef::new(3), &registry) };
    assert_eq!(
        report.map(|report| report.outcome),
        Some(GcOutcome::KeptUnproven)
    );
    let swept = table.with_stack_canary(|| {
        // SAFETY: the canary is set, and no compiled code is on the stack.
        unsafe { gc_with_backtrace(&registry, &table) }
    });
    assert_eq!(swept.freed, 1);
}

/// A command that starts this test binary again.
///
/// On a foreign processor, `VMEXTERNREF_TEST_RUNNER` is the emulator with its options.
fn this_binary() -> Command {
    let runner = std::env::var("VMEXTERNREF_TEST_RUNNER").unwrap_or_default();
    let binary = std::env::current_exe().expect("this test");
    let words = runner.split_whitespace().map(OsString::from);
    let mut words = words.chain([binary.into_os_string()]);
    let mut command = Command::new(words.next().expect("the binary at least"));
    command.args(words);
    command
}

#[test]
fn without_a_logger_a_failure_is_printed_once() {
    if std::env::var_os(CHILD).is_some() {
        return collect_in_vain();
    }
    let child = this_binary()
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, "")
        .output()
        .expect("the child runs");
    assert!(child.status.success(), "{child:?}");
    let errors = String::from_utf8(child.stderr).expect("text");
    let lines: Vec<&str> = errors.lines().collect();
    if !cfg!(debug_assertions) {
        assert_eq!(lines, [""; 0], "release builds are silent");
        return;
    }
    assert_eq!(lines.len(), 1, "{lines:?}");
    let start = "externref gc: kept everything, nothing proves that the walk saw all of Wasm";
    assert!(lines[0].starts_with(start), "{lines:?}");
}
