//! The model for as long as one likes.
//!
//! `long OPERATIONS [SEED]` runs cases until there were so many operations, beginning with the case
//! of that seed; `long case SEED` runs one case, `long file PATH` one whose bytes a file has.

use arbitrary::Unstructured;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::exit;
use vmexternref_model::{Tally, bytes_of, check};

fn run(what: &str, bytes: &[u8], tally: &mut Tally) {
    let case = || check(&mut Unstructured::new(bytes), tally);
    match catch_unwind(AssertUnwindSafe(case)) {
        // Bytes that run out in the middle of an operation end a case.
        Ok(Ok(()) | Err(_)) => {}
        Err(panic) => {
            eprintln!("FAILED: {what}");
            resume_unwind(panic);
        }
    }
}

fn number(text: Option<&String>) -> u64 {
    match text.map(|text| text.parse()) {
        None => 1,
        Some(Ok(number)) => number,
        Some(Err(_)) => {
            eprintln!("usage: long OPERATIONS [SEED] | long case SEED | long file PATH");
            exit(2);
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut tally = Tally::default();
    match arguments.first().map(String::as_str) {
        Some("case") => {
            let seed = number(arguments.get(1));
            run(&format!("case {seed}"), &bytes_of(seed), &mut tally);
        }
        Some("file") => {
            let path = arguments.get(1).expect("a path follows");
            let bytes = std::fs::read(path).expect("the file can be read");
            run(&format!("file {path}"), &bytes, &mut tally);
        }
        _ => {
            let (operations, first) = (number(arguments.first()), number(arguments.get(1)));
            let mut seed = first;
            while tally.operations < operations {
                run(&format!("case {seed}"), &bytes_of(seed), &mut tally);
                seed += 1;
            }
            println!("cases {first} to {}", seed - 1);
        }
    }
    println!("{tally}");
}
