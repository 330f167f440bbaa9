//! Measures `vmexternref` against Wasmtime's collectors and against handles.
//!
//! `README.md` says what each row means, and to whom it is unfair.

mod arguments;
mod clock;
mod contender;
mod curves;
mod engine;
mod figures;
mod goals;
mod guest;
mod handles;
mod paths;
mod report;
mod stopwatch;
mod worker;
mod workload;

use arguments::{ArgumentError, Arguments, Task};
use engine::Failure;
use figures::Figures;
use std::process::ExitCode;
use workload::Workload;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(ArgumentError::Help) => {
            println!("{}", ArgumentError::Help);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let outcome = match &arguments.task {
        Task::Compare => compare(&arguments),
        Task::Measure(workload, contender, x) => {
            worker::work(workload, contender, *x, arguments.effort)
        }
        Task::Path(name, times) => paths::run(name, *times),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Measures every row that was asked for, and reports.
fn compare(arguments: &Arguments) -> Result<(), Failure> {
    let workloads: Vec<_> = workload::all()
        .filter(|workload| arguments.wants(workload.row))
        .collect();
    if workloads.is_empty() {
        return Err("no such row".into());
    }
    let (figures, failures) = measure(&workloads, arguments);
    print!("{}", report::table(&figures));
    if let Some(path) = &arguments.json {
        std::fs::write(path, report::json(&figures))?;
    }
    if let Some(folder) = &arguments.svg {
        curves::draw(&figures, folder)?;
    }
    if failures == 0 {
        Ok(())
    } else {
        Err(format!("{failures} measurements failed").into())
    }
}

/// One process after the other, with progress on the terminal.
fn measure(workloads: &[&Workload], arguments: &Arguments) -> (Figures, usize) {
    let effort = arguments.effort;
    let total: usize = workloads
        .iter()
        .map(|workload| workload.contenders.len() * workload.sizes(effort).len())
        .sum();
    let (mut figures, mut failures, mut done) = (Figures::default(), 0, 0);
    for workload in workloads {
        for &contender in workload.contenders {
            for &x in workload.sizes(effort) {
                done += 1;
                eprint!("[{done}/{total}] {} {contender} {x}: ", workload.name());
                match worker::measure(workload, contender, x, effort) {
                    Ok(measured) => {
                        for figure in measured {
                            eprint!("{} {:.2} ", figure.line, figure.value);
                            figures.push(figure);
                        }
                        eprintln!();
                    }
                    Err(failure) => {
                        failures += 1;
                        eprintln!("{failure}");
                    }
                }
            }
        }
    }
    (figures, failures)
}
