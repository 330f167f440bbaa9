//! What the command line asks for.

use crate::stopwatch::Effort;
use core::fmt;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Rows to measure, as `W7`; all if empty.
    pub(crate) only: Vec<String>,
    /// Where the figures go as JSON.
    pub(crate) json: Option<PathBuf>,
    /// The folder that the curves go to.
    pub(crate) svg: Option<PathBuf>,
    /// How long to measure.
    pub(crate) effort: Effort,
    /// What this process does.
    pub(crate) task: Task,
}

/// What one process does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Starts a process for each measurement, and reports.
    Compare,
    /// One measurement: row, contender, size.
    Measure(String, String, u32),
    /// One hot path, so many times, for somebody else to count.
    Path(String, u32),
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum ArgumentError {
    /// No such option.
    Unknown(String),
    /// The option wants a value after it.
    Missing(&'static str),
    /// Somebody wants to know how this is used.
    Help,
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(option) => write!(f, "unknown option {option}\n\n{USAGE}"),
            Self::Missing(option) => write!(f, "{option} wants a value\n\n{USAGE}"),
            Self::Help => f.write_str(USAGE),
        }
    }
}

impl core::error::Error for ArgumentError {}

const USAGE: &str = "\
usage: vmexternref-bench [--only W7,W8] [--quick] [--json PATH] [--svg DIR]
       vmexternref-bench --path NAME TIMES

  --only ROWS   measure these rows only
  --quick       short batches, small sizes: shows that everything runs
  --json PATH   write every figure to PATH
  --svg DIR     draw the curves of W3b, W7, W8 and W10 into DIR
  --path        run one hot path so many times, under an instruction counter";

impl Arguments {
    /// Reads options, without the program's name.
    pub(crate) fn parse(mut options: impl Iterator<Item = String>) -> Result<Self, ArgumentError> {
        let mut arguments = Self {
            only: Vec::new(),
            json: None,
            svg: None,
            effort: Effort::FULL,
            task: Task::Compare,
        };
        while let Some(option) = options.next() {
            let mut value = |name| options.next().ok_or(ArgumentError::Missing(name));
            match option.as_str() {
                "--only" => {
                    let rows = value("--only")?;
                    arguments.only = rows.split(',').map(str::to_owned).collect();
                }
                "--quick" => arguments.effort = Effort::QUICK,
                "--json" => arguments.json = Some(value("--json")?.into()),
                "--svg" => arguments.svg = Some(value("--svg")?.into()),
                "--worker" => {
                    let (row, contender) = (value("--worker")?, value("--worker")?);
                    let x = number("--worker", &value("--worker")?)?;
                    arguments.task = Task::Measure(row, contender, x);
                }
                "--path" => {
                    let name = value("--path")?;
                    arguments.task = Task::Path(name, number("--path", &value("--path")?)?);
                }
                "--help" | "-h" => return Err(ArgumentError::Help),
                _ => return Err(ArgumentError::Unknown(option)),
            }
        }
        Ok(arguments)
    }

    /// Whether `row` is asked for; `W3` asks for `W3a` and `W3b`.
    pub(crate) fn wants(&self, row: &str) -> bool {
        let number = row.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        self.only.is_empty() || self.only.iter().any(|only| only == row || only == number)
    }
}

fn number(option: &'static str, text: &str) -> Result<u32, ArgumentError> {
    text.parse().map_err(|_| ArgumentError::Missing(option))
}

#[cfg(test)]
mod tests {
    use super::{ArgumentError, Arguments, Task};
    use crate::stopwatch::Effort;

    fn parse(line: &str) -> Result<Arguments, ArgumentError> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn reads_every_option() {
        let arguments = parse("--only W3,W8 --quick --json a.json --svg dir").unwrap();
        assert!(arguments.wants("W3b") && arguments.wants("W8") && !arguments.wants("W1"));
        assert_eq!(arguments.effort, Effort::QUICK);
        assert_eq!(arguments.json.unwrap().to_str(), Some("a.json"));
        let task = parse("--worker W7 ours 100").unwrap().task;
        assert_eq!(task, Task::Measure("W7".into(), "ours".into(), 100));
        let task = parse("--path gc_frame 8").unwrap().task;
        assert_eq!(task, Task::Path("gc_frame".into(), 8));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(
            parse("--fast"),
            Err(ArgumentError::Unknown("--fast".into()))
        );
        assert_eq!(parse("--json"), Err(ArgumentError::Missing("--json")));
    }
}
