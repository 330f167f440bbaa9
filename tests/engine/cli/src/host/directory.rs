//! Opens files for guests.

use core::cell::{Cell, OnceCell};
use core::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Numbers the scratch directories of this process.
static SCRATCH_COUNT: AtomicU32 = AtomicU32::new(0);

/// The directory that relative paths of guests start from.
///
/// By default it is a new scratch directory in the system's temporary directory, made when first
/// needed.
#[derive(Debug)]
pub(crate) struct Directory {
    path: OnceCell<PathBuf>,
    made_here: Cell<bool>,
}

impl Directory {
    /// Relative paths start from `path`, or by default from a new scratch directory.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        let cell = OnceCell::new();
        if let Some(path) = path {
            let _ = cell.set(path);
        }
        Self {
            path: cell,
            made_here: Cell::new(false),
        }
    }

    /// Removes the scratch directory if it is empty, and otherwise returns its path.
    pub(crate) fn settle(&self) -> Option<&Path> {
        let path = self.path.get().filter(|_| self.made_here.get())?;
        match fs::remove_dir(path) {
            Ok(()) => None,
            Err(_) => Some(path),
        }
    }

    /// Opens `name` to append to, or only to read if it may not be written. Creates a missing file.
    ///
    /// Keeps the contents of the file: a mistake of the guest must not empty a file of the user.
    pub(crate) fn open(&self, name: &str) -> io::Result<File> {
        let path = self.resolve(name)?;
        let appending = OpenOptions::new().append(true).create(true).open(&path);
        match appending {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(&path),
            other => other,
        }
    }

    fn resolve(&self, name: &str) -> io::Result<PathBuf> {
        let name = Path::new(name);
        if name.is_absolute() {
            return Ok(name.to_owned());
        }
        if self.path.get().is_none() {
            let _ = self.path.set(make_scratch()?);
            self.made_here.set(true);
        }
        let base = self.path.get().ok_or(io::ErrorKind::NotFound)?;
        Ok(base.join(name))
    }
}

/// Makes a directory with a name that was free.
fn make_scratch() -> io::Result<PathBuf> {
    loop {
        let number = SCRATCH_COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(ScratchName(number).to_string());
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| path),
        }
    }
}

struct ScratchName(u32);

impl fmt::Display for ScratchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vmexternref-{}-{}", process::id(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Directory;
    use std::fs;
    use std::io::Write;

    #[test]
    fn relative_names_are_appended_to_in_a_scratch_directory() {
        let directory = Directory::new(None);
        assert!(directory.settle().is_none());
        for _ in 0..2 {
            directory.open("a.txt").unwrap().write_all(b"ab").unwrap();
        }
        let scratch = directory.settle().unwrap();
        assert_eq!(fs::read(scratch.join("a.txt")).unwrap(), b"abab");
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn a_directory_does_not_open() {
        let directory = Directory::new(None);
        assert!(directory.open("/").is_err());
        assert!(directory.open("/no/such/folder/file").is_err());
        assert!(directory.open("").is_err());
        assert!(directory.settle().is_none());
    }
}
