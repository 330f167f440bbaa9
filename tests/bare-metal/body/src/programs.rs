//! Guests that check themselves.

use crate::guests::{PROGRAMS, STACK_OVERFLOW};
use crate::report::Report;
use crate::session::{Surroundings, run};
use alloc::format;

/// Runs each guest in a store of its own.
pub(crate) fn test(report: &mut Report<'_>, surroundings: &Surroundings) {
    for guest in PROGRAMS {
        report.test(guest.name, || {
            let (_, totals) = run(surroundings, guest, &[])?;
            Ok(format!("{totals}"))
        });
    }
    report.test(STACK_OVERFLOW.name, || {
        run(surroundings, &STACK_OVERFLOW, &[])?;
        Ok("trapped and recovered".into())
    });
    report.measured(format_args!(
        "heap: {} bytes at most",
        surroundings.heap.high_water()
    ));
}
