//! The model, with programs that are always the same, and with others.

use std::hash::{BuildHasher, Hasher, RandomState};
use vmexternref_engine_model::{Tally, run_case};

/// Programs that are always the same: as many as it takes until each instruction is among them.
const FIXED: u64 = 24;

/// Programs that are others each time.
const RANDOM: u64 = 8;

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
    for seed in 1..=FIXED {
        run_case(seed, &mut tally);
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
    let mut numbers = RandomState::new().build_hasher();
    for _ in 0..RANDOM {
        numbers.write_u64(0);
        run_case(numbers.finish(), &mut Tally::default());
    }
}
