//! What the guest's references refer to.

use crate::console::Console;
use core::cell::Cell;
use core::fmt;
use std::fs::File;
use std::io::Write;
use std::rc::Rc;

/// Counts the host objects that are alive.
#[derive(Clone, Debug, Default)]
pub struct Census {
    alive: Rc<Cell<u64>>,
}

impl Census {
    /// How many host objects are alive now.
    pub fn alive(&self) -> u64 {
        self.alive.get()
    }

    /// Wraps `kind` as an object that is counted until it is dropped.
    pub fn object(&self, kind: HostKind) -> HostObject {
        self.alive.set(self.alive.get() + 1);
        HostObject {
            kind,
            census: self.clone(),
        }
    }
}

/// A value of the host in a reference of the guest.
pub struct HostObject {
    kind: HostKind,
    census: Census,
}

impl HostObject {
    /// What the object is.
    pub fn kind(&self) -> &HostKind {
        &self.kind
    }
}

impl Drop for HostObject {
    fn drop(&mut self) {
        self.census.alive.set(self.census.alive.get() - 1);
    }
}

impl fmt::Debug for HostObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostObject({})", self.kind)
    }
}

/// The kinds of host objects.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostKind {
    /// A number, from `host.new` or from a script's `ref.extern`.
    Value(i64),
    /// An open file, from `host.open`.
    File(OpenFile),
    /// A number whose destructor calls the guest, from `host.new_finalized`.
    Finalized(Finalized),
}

impl fmt::Display for HostKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "value {value}"),
            Self::File(file) => write!(f, "file {}", file.name),
            Self::Finalized(object) => write!(f, "finalized value {}", object.value),
        }
    }
}

/// A number whose destructor calls the guest.
pub struct Finalized {
    value: i64,
    finalizer: Option<Box<dyn FnOnce(i64)>>,
}

impl Finalized {
    /// Calls `finalizer` with `value` when the last reference goes.
    pub fn new(value: i64, finalizer: impl FnOnce(i64) + 'static) -> Self {
        Self {
            value,
            finalizer: Some(Box::new(finalizer)),
        }
    }

    /// The number that it holds.
    pub fn value(&self) -> i64 {
        self.value
    }
}

impl Drop for Finalized {
    fn drop(&mut self) {
        if let Some(finalizer) = self.finalizer.take() {
            finalizer(self.value);
        }
    }
}

impl fmt::Debug for Finalized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finalized")
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}

/// A file that is closed when the last reference to it goes.
#[derive(Debug)]
pub struct OpenFile {
    name: String,
    file: File,
    written: Cell<u64>,
    console: Console,
}

impl OpenFile {
    /// Wraps an open `file`, and announces on `console` when it is closed.
    pub fn new(name: String, file: File, console: Console) -> Self {
        console.line(format_args!("open: {name}"));
        Self {
            name,
            file,
            written: Cell::new(0),
            console,
        }
    }

    /// Appends `bytes`; how many were written, or `None` if the system refused.
    pub fn write(&self, bytes: &[u8]) -> Option<usize> {
        let mut file = &self.file;
        let written = file.write(bytes).ok()?;
        self.written.set(self.written.get() + written as u64);
        Some(written)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.console.line(format_args!(
            "close: {} ({} bytes written)",
            self.name,
            self.written.get()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::{Census, Finalized, HostKind};
    use core::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn the_census_follows_objects() {
        let census = Census::default();
        let first = census.object(HostKind::Value(1));
        let second = census.object(HostKind::Value(2));
        assert_eq!(census.alive(), 2);
        drop(first);
        assert_eq!(census.alive(), 1);
        drop(second);
        assert_eq!(census.alive(), 0);
    }

    #[test]
    fn a_finalizer_runs_once_with_its_value() {
        let sum = Rc::new(Cell::new(0));
        let seen = Rc::clone(&sum);
        let census = Census::default();
        drop(
            census.object(HostKind::Finalized(Finalized::new(5, move |value| {
                seen.set(seen.get() + value);
            }))),
        );
        assert_eq!(sum.get(), 5);
        assert_eq!(census.alive(), 0);
    }
}
