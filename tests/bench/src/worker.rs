//! One measurement in a process of its own.

use crate::contender::Contender;
use crate::engine::Failure;
use crate::figures::Figure;
use crate::stopwatch::Effort;
use crate::workload::{Lines, Task, Workload};
use std::process::{Command, Stdio};

/// Bytes of stack for recursions of 100 000 frames; only what is used takes memory.
const THREAD_STACK: usize = 1 << 30;

/// Measures in this process, and prints a line `name<TAB>number` for each figure.
pub(crate) fn work(workload: &str, contender: &str, x: u32, effort: Effort) -> Result<(), Failure> {
    let workload = Workload::find(workload).ok_or("no such workload")?;
    let contender = Contender::parse(contender).ok_or("no such contender")?;
    let task = Task {
        contender,
        x,
        effort,
    };
    let measure = move || (workload.run)(&task).map_err(|failure| failure.to_string());
    let thread = std::thread::Builder::new().stack_size(THREAD_STACK);
    let measured = thread.spawn(measure)?.join();
    let lines: Lines = measured.map_err(|_| "the measurement panicked")??;
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
