//! The model, with programs that are always the same, and for a second with others.

use arbitrary::Unstructured;
use vmexternref_engine_model::{Tally, check};
use vmexternref_model::bytes_of;

/// Programs that every run has.
const CASES: u64 = 60;

/// What the programs have to do, so that the model is one of the whole engine.
const INSTRUCTIONS: [&str; 14] = [
    "block",
    "br_table",
    "call",
    "call that may trap",
    "call through the host",
    "call_indirect",
    "global.get",
    "global.set",
    "if",
    "loop",
    "return_call",
    "return_call_indirect",
    "table.get",
    "table.set",
];

#[test]
fn the_same_programs_do_everything_that_the_engine_can() {
    let mut tally = Tally::default();
    for seed in 1..=CASES {
        // An error is bytes that end in the middle of a program.
        let _ = check(&mut Unstructured::new(&bytes_of(seed)), &mut tally);
    }
    println!("{tally}");
    for instruction in INSTRUCTIONS {
        assert!(
            tally.instructions.contains_key(instruction),
            "never: {instruction}"
        );
    }
    assert!(tally.with_frames > 0 && tally.stored > 0 && !tally.traps.is_empty());
}

#[test]
fn random_programs_agree() {
    arbtest::arbtest(|u| check(u, &mut Tally::default()))
        .budget_ms(1000)
        .size_min(256)
        .size_max(4096)
        .run();
}
