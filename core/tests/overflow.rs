//! A reference count that would overflow aborts the process.

use std::env;
use std::process::Command;
use vmexternref_core::{Offsets, VMExternRef};

const ROLE: &str = "VMEXTERNREF_TEST_OVERFLOWS";
const LIMIT: usize = usize::MAX / 4;

fn set_count(reference: &VMExternRef, count: usize) {
    let offset = usize::from(Offsets::HOST.ref_count());
    let word = core::ptr::with_exposed_provenance_mut::<usize>(reference.as_raw().addr() + offset);
    // SAFETY: this word is the count, which compiled code writes in the same way.
    unsafe { word.write(count) }
}

#[test]
fn cloning_stops_at_the_limit() {
    let reference = VMExternRef::new(());
    if env::var_os(ROLE).is_some() {
        set_count(&reference, LIMIT);
        core::mem::forget(reference.clone());
        return;
    }
    set_count(&reference, LIMIT - 1);
    core::mem::forget(reference.clone());
    assert_eq!(reference.strong_count(), LIMIT);
    set_count(&reference, 1);

    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "cloning_stops_at_the_limit", "--nocapture"])
        .env(ROLE, "1")
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success(), "the clone was made");
    assert_eq!(child.status.code(), None, "an abort is a signal: {message}");
    assert!(message.contains("overflowed"), "{message}");
}
