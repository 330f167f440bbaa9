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

use arguments::Arguments;
use clap::Parser;
use engine::Failure;
use figures::Figures;
use std::process::ExitCode;
use stopwatch::Effort;
use workload::{Task, Workload};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.task {
        None => compare(&arguments),
        Some(arguments::Task::Measure {
            workload,
            contender,
            x,
        }) => {
            let effort = arguments.effort();
            worker::work(
                workload,
                &Task {
                    contender,
                    x,
                    effort,
                },
            )
        }
        Some(arguments::Task::Path { ref name, rounds }) => paths::run(name, rounds),
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
    let (figures, failures) = measure(&workloads, arguments.effort());
    print!("{}", report::table(&figures));
    if let Some(path) = &arguments.json {
        std::fs::write(path, report::json(&figures)?)?;
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
///
/// Contenders that are not compiled in are left out.
fn measure(workloads: &[&'static Workload], effort: Effort) -> (Figures, usize) {
    let all: Vec<_> = workloads
        .iter()
        .flat_map(|&workload| workload.tasks(effort).map(move |task| (workload, task)))
        .collect();
    let total = all.len() * effort.rounds;
    let rounds = core::iter::repeat_n(&all, effort.rounds).flatten();
    let (mut figures, mut failures) = (Figures::default(), 0);
    for (done, (workload, task)) in (1..).zip(rounds) {
        let (name, contender, x) = (workload.name(), task.contender, task.x);
        eprint!("[{done}/{total}] {name} {contender} {x}: ");
        match worker::measure(workload, task) {
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
