//! One measurement in a process of its own.

use crate::contender::Contender;
use crate::engine::Failure;
use crate::figures::Figure;
use crate::stopwatch::Effort;
use crate::workload::{Lines, Task, Workload};
use std::process::{Command, Stdio};

/// Bytes of stack for recursions of 100 000 frames. Untouched pages take no memory.
const STACK: libc::rlim_t = 1 << 30;

/// Lets processes that are started from now on use that much stack.
pub(crate) fn raise_stack_limit() -> Result<(), Failure> {
    let mut limit = stack_limit()?;
    limit.rlim_cur = limit.rlim_max.min(STACK);
    // SAFETY: the limit is a valid one, and on the stack.
    if unsafe { libc::setrlimit(libc::RLIMIT_STACK, &raw const limit) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}

fn stack_limit() -> Result<libc::rlimit, Failure> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is written to a place for one.
    if unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(limit)
}

/// Measures in this process, and prints a line `name<TAB>number` for each figure.
///
/// There is no other thread, so that the C library's `malloc` need not lock.
pub(crate) fn work(workload: &str, contender: &str, x: u32, effort: Effort) -> Result<(), Failure> {
    let workload = Workload::find(workload).ok_or("no such workload")?;
    let contender = Contender::parse(contender).ok_or("no such contender")?;
    let task = Task {
        contender,
        x,
        effort,
    };
    if stack_limit()?.rlim_cur < STACK {
        return Err("the stack's limit is too low, and cannot be raised".into());
    }
    let lines: Lines = (workload.run)(&task)?;
    for (line, value) in lines {
        println!("{line}\t{value}");
    }
    Ok(())
}

/// Measures in another process.
pub(crate) fn measure(
    workload: &Workload,
    contender: Contender,
    x: u32,
    effort: Effort,
) -> Result<Vec<Figure>, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--worker", &workload.name()])
        .args([contender.to_string(), x.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if effort == Effort::QUICK {
        command.arg("--quick");
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the process ended with {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| read(workload, contender, x, line))
        .collect()
}

fn read(workload: &Workload, contender: Contender, x: u32, text: &str) -> Result<Figure, Failure> {
    let (line, value) = text
        .split_once('\t')
        .ok_or("a figure is a name and a number")?;
    Ok(Figure {
        row: workload.row.to_owned(),
        line: line.to_owned(),
        contender,
        x,
        value: value.parse()?,
    })
}
