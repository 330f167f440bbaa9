//! The rows of the table: workloads, their contenders and their sizes.

mod boxes;
mod calls;
mod cycles;
mod garbage;
mod interpreted;
mod memory;
mod pauses;
mod recursion;
mod registry;
mod stacks;
mod tables;
mod threads;
mod walkers;

use crate::contender::Contender;
use crate::engine::{Engine, Failure, instantiate};
use crate::stopwatch::Effort;

/// The numbers that one process measured, each with the name of its line.
pub(crate) type Lines = Vec<(&'static str, f64)>;

/// The measurement of one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) contender: Contender,
    /// The size, in a unit that depends on the row.
    pub(crate) x: u32,
    pub(crate) effort: Effort,
}

impl Task {
    /// Instantiates the guest of this task in the engine of its contender.
    fn instantiate(&self, text: &str) -> Result<Box<dyn Engine>, Failure> {
        instantiate(self.contender, text, self.effort)
    }

    /// The size as a Wasm `i32`.
    fn size(&self) -> Result<i32, Failure> {
        Ok(i32::try_from(self.x)?)
    }

    /// Runs the export `run` of `text`, and divides the measured time by `operations`.
    fn time(&self, text: &str, operations: f64) -> Result<f64, Failure> {
        let mut engine = self.instantiate(text)?;
        engine.run("run", self.size()?)?;
        let figure = engine.figure().ok_or("nothing was timed")?;
        Ok(figure / operations)
    }
}

/// A row, or a part of a row that runs in processes of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) row: &'static str,
    /// The name of this part of a row.
    pub(crate) part: &'static str,
    pub(crate) contenders: &'static [Contender],
    pub(crate) sizes: &'static [u32],
    /// Sizes for a quick run.
    pub(crate) quick_sizes: &'static [u32],
    pub(crate) run: fn(&Task) -> Result<Lines, Failure>,
}

impl Workload {
    /// The name that a process finds it by.
    pub(crate) fn name(&self) -> String {
        match self.part {
            "" => self.row.to_owned(),
            part => format!("{}:{part}", self.row),
        }
    }

    /// The workload of that name.
    pub(crate) fn find(name: &str) -> Result<&'static Self, &'static str> {
        let found = all().find(|workload| workload.name() == name);
        found.ok_or("no such workload")
    }

    /// The measurements of each contender that is compiled in, at each size.
    pub(crate) fn tasks(&self, effort: Effort) -> impl Iterator<Item = Task> {
        let sizes = if effort == Effort::QUICK {
            self.quick_sizes
        } else {
            self.sizes
        };
        let contenders = self.contenders.iter().copied();
        let contenders = contenders.filter(|contender| contender.is_compiled_in());
        sizes.iter().flat_map(move |&x| {
            contenders.clone().map(move |contender| Task {
                contender,
                x,
                effort,
            })
        })
    }
}

/// Every workload, in the order of the table.
pub(crate) fn all() -> impl Iterator<Item = &'static Workload> {
    [
        calls::WORKLOADS,
        tables::WORKLOADS,
        garbage::W6,
        recursion::WORKLOADS,
        memory::WORKLOADS,
        garbage::W10,
        pauses::WORKLOADS,
        boxes::WORKLOADS,
        registry::WORKLOADS,
        walkers::WORKLOADS,
        threads::WORKLOADS,
        recursion::W19,
        cycles::WORKLOADS,
        stacks::WORKLOADS,
        interpreted::WORKLOADS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::{Workload, all};

    #[test]
    fn names_lead_to_one_workload_each() {
        for workload in all() {
            let found = Workload::find(&workload.name()).unwrap();
            assert!(core::ptr::eq(found, workload), "{}", workload.name());
        }
    }
}
