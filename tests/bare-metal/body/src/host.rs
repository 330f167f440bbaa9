//! What is special about the module `host` here: no console, and requests for memory that fail.
//!
//! | function | type | |
//! | --- | --- | --- |
//! | `fail_every` | `[i32] -> []` | every n-th request for memory fails from now on; none for 0 |
//! | `failures` | `[] -> [i64]` | the number of requests that failed so far |

use crate::measured_heap::HeapMeter;
use core::fmt;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_host::{Host, HostFunction, Platform, mistyped};
use vmexternref_engine_runtime::ValType::{I32, I64};
use vmexternref_engine_runtime::{Caller, Linker, Store, Trap, Val};

/// Drops the lines of guests: the console shows the outcomes of tests, and nothing else.
#[derive(Debug)]
pub(crate) struct Silent;

impl Platform for Silent {
    fn print(&self, _line: fmt::Arguments<'_>) {}
}

type Heap = &'static dyn HeapMeter;

const FUNCTIONS: [HostFunction<Heap>; 2] = [
    ("fail_every", &[I32], &[], fail_every),
    ("failures", &[], &[I64], failures),
];

/// Defines the module in `linker`.
pub(crate) fn define(
    host: &Host,
    heap: Heap,
    store: &Store,
    linker: &mut Linker,
) -> Result<(), OutOfMemory> {
    host.define(store, linker)?;
    host.define_more(&FUNCTIONS, &heap, store, linker)
}

fn fail_every(heap: &Heap, _: &Caller<'_>, args: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    let [Val::I32(period)] = args else {
        return Err(mistyped());
    };
    let period = usize::try_from(*period);
    let period = period.map_err(|_| Trap::host("host.fail_every: the period is negative"))?;
    heap.fail_every(period);
    Ok(())
}

fn failures(heap: &Heap, _: &Caller<'_>, _: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let failures = i64::try_from(heap.failures());
    results[0] = Val::I64(failures.unwrap_or(i64::MAX));
    Ok(())
}
