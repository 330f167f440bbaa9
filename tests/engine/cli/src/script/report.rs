//! The outcomes of a script's directives.

use core::fmt;
use std::collections::BTreeMap;
use std::path::Path;

/// Why a directive did not pass.
#[derive(Debug)]
pub enum Verdict {
    /// The engine or the script is wrong, for this reason.
    Failed(String),
    /// The directive needs this missing feature.
    Skipped(String),
}

/// The outcome of a directive, or of a part of one.
pub(super) type Step<T> = Result<T, Verdict>;

impl Verdict {
    /// Skips a directive that needs a missing feature.
    pub(super) fn lacks(feature: impl fmt::Display) -> Self {
        Self::Skipped(format!("needs {feature}"))
    }

    /// Fails a directive with a message.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }
}

/// How many directives passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Directives that passed.
    pub passed: usize,
    /// Directives that failed.
    pub failed: usize,
    /// Directives that need a missing feature.
    pub skipped: usize,
}

impl Tally {
    /// Adds the numbers of another script.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The outcome of one script.
#[derive(Debug, Default)]
pub struct Report {
    /// The numbers.
    pub tally: Tally,
    /// One line for each failure, with file and line.
    pub failures: Vec<String>,
    skipped_for: BTreeMap<String, usize>,
}

impl Report {
    /// Records the outcome of the directive in line `line` of `path`.
    pub fn record(&mut self, path: &Path, line: usize, outcome: Result<(), Verdict>) {
        match outcome {
            Ok(()) => self.tally.passed += 1,
            Err(Verdict::Failed(message)) => {
                self.tally.failed += 1;
                let message = message.replace('\n', " ");
                self.failures
                    .push(format!("{}:{line}: {message}", path.display()));
            }
            Err(Verdict::Skipped(reason)) => {
                self.tally.skipped += 1;
                *self.skipped_for.entry(reason).or_default() += 1;
            }
        }
    }

    /// One line for each missing feature that `path` needs.
    pub fn skips(&self, path: &Path) -> impl Iterator<Item = String> {
        let path = path.display();
        self.skipped_for
            .iter()
            .map(move |(reason, count)| format!("{path}: {count} skipped: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, Verdict};
    use std::path::Path;

    #[test]
    fn reasons_are_told_once_and_failures_each() {
        let path = Path::new("a.wast");
        let mut report = Report::default();
        report.record(path, 1, Ok(()));
        for line in 2..4 {
            report.record(path, line, Err(Verdict::Skipped("needs SIMD".to_owned())));
        }
        report.record(path, 9, Err(Verdict::failed("two\nlines")));
        assert_eq!(report.tally.to_string(), "1 passed, 1 failed, 2 skipped");
        assert_eq!(report.failures, ["a.wast:9: two lines"]);
        let skips: Vec<_> = report.skips(path).collect();
        assert_eq!(skips, ["a.wast: 2 skipped: needs SIMD"]);
    }
}
