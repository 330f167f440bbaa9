//! One measurement in a process of its own.

use crate::engine::Failure;
use crate::figures::Figure;
use crate::stopwatch::Effort;
use crate::workload::{Task, Workload};
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

/// Measures in this process, and prints names and numbers as JSON.
///
/// There is no other thread, so that the C library's `malloc` need not lock.
pub(crate) fn work(workload: &Workload, task: &Task) -> Result<(), Failure> {
    if stack_limit()?.rlim_cur < STACK {
        return Err("the stack's limit is too low, and cannot be raised".into());
    }
    println!("{}", serde_json::to_string(&(workload.run)(task)?)?);
    Ok(())
}

/// Measures in another process. A number that is infinite or undefined is left out.
pub(crate) fn measure(workload: &Workload, task: &Task) -> Result<Vec<Figure>, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["measure", &workload.name()])
        .args([task.contender.to_string(), task.x.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if task.effort == Effort::QUICK {
        command.arg("--quick");
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the process ended with {}", output.status).into());
    }
    let lines: Vec<(String, Option<f64>)> = serde_json::from_slice(&output.stdout)?;
    let figures = lines.into_iter().filter_map(|(line, value)| {
        Some(Figure {
            row: workload.row,
            line,
            contender: task.contender,
            x: task.x,
            value: value?,
        })
    });
    Ok(figures.collect())
}
