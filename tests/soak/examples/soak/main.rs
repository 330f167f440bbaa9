//! Runs everything at random in one process, and watches its memory and handles.
//!
//! `soak SECONDS [SEED]` draws cases of the model of the library, programs of the model of the
//! engine, damaged inputs of the loaders, and guests that check themselves. Each runs by itself, so
//! that a failure names what repeats it. The last line tells how many passed and failed.

mod draw;
mod usage;

use draw::Draw;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use usage::{Record, Usage};

/// Cases between two looks at the process.
const ROUND: usize = 50;

fn main() -> ExitCode {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|text| text.parse::<u64>().ok());
    let (Some(Some(seconds)), seed) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: soak SECONDS [SEED]");
        return ExitCode::from(2);
    };
    let first = match seed {
        Some(Some(seed)) => seed,
        Some(None) => {
            eprintln!("the seed is no number");
            return ExitCode::from(2);
        }
        None => RandomState::new().build_hasher().finish(),
    };
    println!("soak {seconds} {first}");
    let (passed, mut failed, record) = soak(Duration::from_secs(seconds), first);
    println!("{record}");
    for growth in record.growth() {
        failed += 1;
        println!("FAILED: {growth}");
    }
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// Runs cases for that long, from number `first` on.
///
/// Returns how many passed and failed, and what the process used.
fn soak(time: Duration, first: u64) -> (u64, u64, Record) {
    let (start, mut record) = (Instant::now(), Record::default());
    let (mut passed, mut failed) = (BTreeMap::new(), 0);
    let mut number = first;
    while start.elapsed() < time {
        for _ in 0..ROUND {
            let draw = Draw::of(number);
            number = number.wrapping_add(1);
            if draw.run() {
                *passed.entry(draw.kind()).or_insert(0) += 1;
            } else {
                failed += 1;
                println!("FAILED: {draw}");
            }
        }
        let quarters = [1, 2, 3]
            .into_iter()
            .filter(|quarter| start.elapsed() * 4 > time * *quarter);
        record.add(quarters.count(), Usage::now());
    }
    for (kind, count) in &passed {
        println!("{count:>10} {kind}");
    }
    (passed.values().sum(), failed, record)
}
