//! W9: the memory that references take and give back.

use super::{Lines, Task, Workload};
use crate::contender::Contender::{Copying, Drc, Ours};
use crate::engine::Failure;
use crate::guest;

pub(super) const WORKLOADS: &[Workload] = &[Workload {
    row: "W9",
    part: "",
    contenders: &[Ours, Drc, Copying],
    sizes: &[1_000_000],
    quick_sizes: &[10_000],
    run: memory,
}];

/// The physical memory of this process, in bytes.
pub(super) fn resident_bytes() -> Result<f64, Failure> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages = pages.split(' ').nth(1).ok_or("statm has a second field")?;
    // SAFETY: the system knows its page size.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    #[expect(clippy::cast_precision_loss, reason = "a page is small")]
    let page = page as f64;
    Ok(pages.parse::<f64>()? * page)
}

/// `x` references in a table, then none.
fn memory(task: &Task) -> Result<Lines, Failure> {
    let mut engine = task.instantiate(&guest::module(&guest::table(task.x)))?;
    engine.run("fill", 1)?;
    let before = resident_bytes()?;
    engine.run("fill", task.size()?)?;
    engine.run("collect", 0)?;
    let filled = resident_bytes()?;
    engine.run("clear", task.size()?)?;
    engine.run("collect", 0)?;
    let cleared = resident_bytes()?;
    // SAFETY: it only touches what is free.
    unsafe { libc::malloc_trim(0) };
    let settled = resident_bytes()?;
    let returned = |after: f64| (filled - after) / (filled - before) * 100.0;
    Ok(vec![
        ("bytes", (filled - before) / f64::from(task.x)),
        ("held", 100.0 - returned(cleared)),
        ("returned", returned(settled)),
    ])
}
