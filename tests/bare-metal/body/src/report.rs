//! Prints one line for each test.

use alloc::string::String;
use core::fmt::{self, Write};

/// The outcome of a test: a text that is the same on every machine, or the failure.
pub(crate) type Outcome = Result<String, String>;

/// Prints the outcomes of tests, and counts failures.
pub(crate) struct Report<'m> {
    console: &'m mut dyn Write,
    failed: usize,
}

impl<'m> Report<'m> {
    /// A report that prints to `console`.
    pub(crate) fn new(console: &'m mut dyn Write) -> Self {
        Self { console, failed: 0 }
    }

    /// Runs a test, and prints its outcome.
    pub(crate) fn test(&mut self, name: &str, test: impl FnOnce() -> Outcome) {
        let (verdict, words) = match test() {
            Ok(words) => ("ok", words),
            Err(words) => {
                self.failed += 1;
                ("FAILED", words)
            }
        };
        self.line(format_args!("{verdict} {name}: {words}"));
    }

    /// Prints a measurement, which may differ between machines.
    pub(crate) fn measured(&mut self, what: fmt::Arguments<'_>) {
        self.line(format_args!("measured {what}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // A failure of the console cannot be reported anywhere else.
        let _ = writeln!(self.console, "{line}");
    }

    /// Whether every test passed.
    pub(crate) fn passed(&self) -> bool {
        self.failed == 0
    }
}

/// Fails a test whose values are not equal.
pub(crate) fn equal<T: PartialEq + fmt::Debug>(
    what: &str,
    found: T,
    expected: T,
) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(alloc::format!("{what} is {found:?}, expected {expected:?}"))
    }
}

/// Converts any error to the failure of a test.
pub(crate) fn words(error: impl fmt::Display) -> String {
    alloc::format!("{error}")
}
