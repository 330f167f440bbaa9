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
    worker::raise_stack_limit()?;
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
///
/// A round has every measurement once, so that a neighbour who is busy for a while spoils one of
/// a measurement's rounds and not all of them.
fn measure(workloads: &[&Workload], arguments: &Arguments) -> (Figures, usize) {
    let effort = arguments.effort;
    let all = workloads.iter().flat_map(|&workload| {
        let sizes = workload.sizes(effort).iter();
        sizes.flat_map(move |&x| {
            let contenders = workload.contenders.iter();
            contenders.map(move |&contender| (workload, contender, x))
        })
    });
    let all: Vec<_> = all.collect();
    let total = all.len() * effort.rounds;
    let rounds = core::iter::repeat_n(&all, effort.rounds).flatten();
    let (mut figures, mut failures) = (Figures::default(), 0);
    for (done, &(workload, contender, x)) in (1..).zip(rounds) {
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
    (figures.merged(), failures)
}
