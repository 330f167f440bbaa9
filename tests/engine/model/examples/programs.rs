//! The model for as long as one likes.
//!
//! `programs COUNT [SEED]` runs so many programs, beginning with the one of that seed; `programs
//! case SEED` runs one. A fault may end the process: the last line names the programs that ran then.

use arbitrary::Unstructured;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::exit;
use vmexternref_engine_model::{Tally, check};
use vmexternref_model::bytes_of;

/// How many programs the line names.
const NAMED: u64 = 100;

fn run(seed: u64, tally: &mut Tally) {
    let bytes = bytes_of(seed);
    let case = || check(&mut Unstructured::new(&bytes), tally);
    match catch_unwind(AssertUnwindSafe(case)) {
        // Bytes that run out make no program.
        Ok(Ok(()) | Err(_)) => {}
        Err(panic) => {
            eprintln!("FAILED: case {seed}");
            resume_unwind(panic);
        }
    }
}

fn number(text: Option<&String>) -> u64 {
    match text.map(|text| text.parse()) {
        None => 1,
        Some(Ok(number)) => number,
        Some(Err(_)) => {
            eprintln!("usage: programs COUNT [SEED] | programs case SEED");
            exit(2);
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut tally = Tally::default();
    if arguments.first().is_some_and(|first| first == "case") {
        run(number(arguments.get(1)), &mut tally);
    } else {
        let (programs, first) = (number(arguments.first()), number(arguments.get(1)));
        for seed in first..first + programs {
            if (seed - first).is_multiple_of(NAMED) {
                eprintln!("cases from {seed}");
            }
            run(seed, &mut tally);
        }
    }
    println!("{tally}");
}
