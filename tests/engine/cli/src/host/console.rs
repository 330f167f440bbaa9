//! The sink of all lines that guests and the host print.

use crate::panics::catch;
use core::cell::RefCell;
use core::fmt;
use std::io::{self, Write};
use std::rc::Rc;
use vmexternref_engine_host::Platform;

/// A sink of lines; clones share it.
///
/// Lines that cannot be written are dropped: a closed pipe (`| head`) does not stop a guest.
#[derive(Clone)]
pub struct Console {
    sink: Rc<RefCell<Box<dyn Write>>>,
}

impl Console {
    /// Prints to `sink`.
    pub fn new(sink: impl Write + 'static) -> Self {
        Self {
            sink: Rc::new(RefCell::new(Box::new(sink))),
        }
    }

    /// Prints to the standard output.
    pub fn stdout() -> Self {
        Self::new(io::stdout())
    }

    /// Prints nothing.
    pub fn silent() -> Self {
        Self::new(io::sink())
    }

    /// Prints one line.
    pub fn line(&self, text: impl fmt::Display) {
        let _ = writeln!(self.sink.borrow_mut(), "{text}");
    }
}

impl Platform for Console {
    fn print(&self, line: fmt::Arguments<'_>) {
        self.line(line);
    }

    fn catch(&self, body: &mut dyn FnMut()) -> Result<(), String> {
        catch(body)
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Console;
    use std::io::{self, Write};

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_closed_reader_stops_nothing() {
        Console::new(Closed).line("unread");
    }
}
