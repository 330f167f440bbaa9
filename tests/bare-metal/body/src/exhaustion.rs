//! Tests of failing requests for memory, and of leaks.

use crate::guests::{FAILING_ALLOCATOR, Guest, PROGRAMS};
use crate::report::{Outcome, Report, equal};
use crate::session::{Surroundings, run};
use alloc::format;
use alloc::vec::Vec;
use vmexternref_engine_runtime::Val;

/// The periods of failing requests: every one fails, every second, and so on.
const PERIODS: [i32; 6] = [1, 2, 3, 7, 50, 1000];

/// The number of repetitions that have to use the same amount of memory.
const ROUNDS: usize = 12;

/// The guests that are repeated.
const REPEATED: [&str; 3] = ["garbage", "tables", "thousands_of_frames"];

/// Runs the tests.
pub(crate) fn test(report: &mut Report<'_>, surroundings: &Surroundings) {
    for period in PERIODS {
        let name = format!("every {period}. request for memory fails");
        report.test(&name, || fail_every(surroundings, period));
    }
    for guest in PROGRAMS {
        if REPEATED.contains(&guest.name) {
            let name = format!("{}, {ROUNDS} times", guest.name);
            report.test(&name, || repeat(surroundings, guest));
        }
    }
}

/// Runs a guest that checks the objects it holds, and checks that it leaves no memory in use.
fn fail_every(surroundings: &Surroundings, period: i32) -> Outcome {
    let before = surroundings.heap.in_use();
    let outcome = run(surroundings, &FAILING_ALLOCATOR, &[Val::I32(period)]);
    surroundings.heap.fail_every(0);
    let (results, totals) = outcome?;
    let [Val::I64(refused)] = results[..] else {
        return Err("the guest says something else than a number".into());
    };
    drop(results);
    equal("memory left in use", surroundings.heap.in_use() - before, 0)?;
    if totals.collections < 3 {
        return Err(format!("only {} collections", totals.collections));
    }
    Ok(format!("{refused} objects were refused, {totals}"))
}

/// Runs `guest` repeatedly. Memory in use and its high-water mark must be the same each time.
fn repeat(surroundings: &Surroundings, guest: &Guest) -> Outcome {
    let heap = surroundings.heap;
    let before = heap.in_use();
    let mut marks = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        heap.reset_high_water();
        run(surroundings, guest, &[])?;
        marks.push(heap.high_water());
    }
    let same = marks.iter().all(|&mark| mark == marks[0]);
    equal("the same high-water mark each time", same, true)?;
    drop(marks);
    equal("memory left in use", heap.in_use() - before, 0)?;
    Ok("the high-water mark stays, and nothing is left".into())
}
