//! Cases by number, which name themselves when one fails.

use crate::check;
use crate::tally::Tally;
use arbitrary::Unstructured;
use std::panic;
use std::sync::{Mutex, Once, PoisonError};
use vmexternref_model::bytes_of;

/// The cases that run now.
static RUNNING: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// Runs the case that has this seed.
///
/// Faults may end the process, too. So the cases that run are named as soon as anything panics.
///
/// # Panics
///
/// As [`check`] does.
pub fn run_case(seed: u64, tally: &mut Tally) {
    static NAMES_CASES: Once = Once::new();
    NAMES_CASES.call_once(name_cases);
    let running = || RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running().push(seed);
    // An error is bytes that make no program.
    let _ = check(&mut Unstructured::new(&bytes_of(seed)), tally);
    running().retain(|other| *other != seed);
}

fn name_cases() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if let Ok(running) = RUNNING.try_lock() {
            for seed in &*running {
                eprintln!("the model of the engine runs case {seed}");
            }
        }
        before(info);
    }));
}
