//! The command line.

use crate::contender::Contender;
use crate::stopwatch::Effort;
use crate::workload::Workload;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Measures vmexternref against Wasmtime's collectors and against handles
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Measure these rows only, as in W7,W8
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    only: Vec<String>,
    /// Use short batches and small sizes: shows that everything runs
    #[arg(long, global = true)]
    quick: bool,
    /// Write every figure to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the curves into this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) svg: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) task: Option<Task>,
}

/// What one process does, if not everything.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Make one measurement in this process
    Measure {
        /// A row, or a part of one, as in W7:4
        #[arg(value_parser = Workload::find)]
        workload: &'static Workload,
        /// Who is measured
        contender: Contender,
        /// The size
        x: u32,
    },
    /// Run one hot path repeatedly, under an instruction counter
    Path {
        /// The path
        name: String,
        /// The number of rounds
        rounds: u32,
    },
}

impl Arguments {
    pub(crate) fn effort(&self) -> Effort {
        if self.quick {
            Effort::QUICK
        } else {
            Effort::FULL
        }
    }

    /// Whether `row` is asked for; `W3` asks for `W3a` and `W3b`.
    pub(crate) fn wants(&self, row: &str) -> bool {
        let number = row.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        self.only.is_empty() || self.only.iter().any(|only| only == row || only == number)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Task};
    use crate::contender::Contender;
    use crate::stopwatch::Effort;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn rows_are_chosen_by_name_or_number() {
        let arguments = Arguments::parse_from(["bench", "--only", "W3,W8"]);
        assert!(arguments.wants("W3b") && arguments.wants("W8") && !arguments.wants("W1"));
    }

    #[test]
    fn a_measurement_may_be_quick() {
        let arguments = Arguments::parse_from(["bench", "measure", "W7:4", "DRC", "9", "--quick"]);
        assert_eq!(arguments.effort(), Effort::QUICK);
        let Some(Task::Measure {
            workload,
            contender,
            x,
        }) = arguments.task
        else {
            panic!("{arguments:?}");
        };
        assert_eq!((workload.part, contender, x), ("4", Contender::Drc, 9));
    }
}
