//! The model, with cases that are always the same, and for a second with others.

use arbitrary::Unstructured;
use vmexternref_model::{Tally, bytes_of, check};

/// What the cases have to do, so that the model is one of the whole library.
const EVENTS: [&str; 25] = [
    "boxes made",
    "calls into Wasm",
    "collections by activation records",
    "cycles freed",
    "inline insertions",
    "insertions forgotten",
    "insertions that collect",
    "kept: Wasm outside of every canary",
    "kept: a call that was not declared",
    "kept: a canary was not passed",
    "kept: a contract is broken",
    "kept: an unreadable frame",
    "kept: code in no module",
    "kept: nothing is proven",
    "kept: the walk stopped",
    "links made",
    "modules unregistered",
    "modules unregistered while they run",
    "references leaked",
    "slices of garbage",
    "stacks thrown away",
    "swept",
    "swept beside foreign roots",
    "tables cleared",
    "walkers that disagree",
];

/// Cases that every run has.
const CASES: u64 = if cfg!(miri) { 10 } else { 400 };

/// Bytes of the largest case. Miri takes a minute for a hundred operations.
const LARGEST: usize = if cfg!(miri) { 256 } else { 4096 };

#[test]
fn the_same_cases_do_everything_that_the_library_can() {
    let mut tally = Tally::default();
    for seed in 1..=CASES {
        // An error is a case that ends in the middle of an operation.
        let bytes = bytes_of(seed);
        let bytes = &bytes[..bytes.len().min(LARGEST)];
        let _ = check(&mut Unstructured::new(bytes), &mut tally);
    }
    println!("{tally}");
    if cfg!(not(miri)) {
        for event in EVENTS {
            assert!(tally.events.contains_key(event), "never: {event}");
        }
        assert!(tally.freed > 0 && tally.unlinked > 0);
    }
}

#[test]
fn random_cases_agree() {
    arbtest::arbtest(|u| check(u, &mut Tally::default()))
        .budget_ms(1000)
        .size_min(256)
        .size_max(u32::try_from(LARGEST).expect("a small number"))
        .run();
}
