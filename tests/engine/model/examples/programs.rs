//! The model for as long as one likes.
//!
//! `programs COUNT [SEED]` runs so many programs, beginning with the one of that seed; `programs
//! case SEED` runs one. A failure names the seed.

use std::process::exit;
use vmexternref_engine_model::{Tally, run_case};

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
        run_case(number(arguments.get(1)), &mut tally);
    } else {
        let (programs, first) = (number(arguments.first()), number(arguments.get(1)));
        for seed in first..first + programs {
            run_case(seed, &mut tally);
        }
    }
    println!("{tally}");
}
