//! The contenders.

use clap::ValueEnum;
use core::fmt;
use serde::{Serialize, Serializer};

/// Our engine and library, and everything to compare them with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// `vmexternref` and its test engine.
    #[value(name = "ours")]
    Ours,
    /// Wasmtime with deferred reference counting.
    #[value(name = "DRC")]
    Drc,
    /// Wasmtime with its copying collector, the default.
    #[value(name = "copying")]
    Copying,
    /// Wasmtime without any collection.
    #[value(name = "null")]
    Null,
    /// Numbers that a guest of Wasmtime holds, and a slab in its host.
    #[value(name = "handle")]
    Handle,
    /// Numbers that a guest of our engine holds, and a slab in its host.
    #[value(name = "handle-in-ours")]
    OurHandle,
    /// `Rc<dyn Any>`.
    #[value(name = "Rc")]
    Rc,
    /// `Arc<dyn Any>`.
    #[value(name = "Arc")]
    Arc,
    /// A slab of boxes.
    #[value(name = "slab")]
    Slab,
    /// `malloc` and `free`.
    #[value(name = "malloc")]
    Malloc,
    /// A B-tree of modules with sorted safepoints.
    #[value(name = "B-tree")]
    BTree,
    /// The `framehop` crate.
    #[value(name = "framehop")]
    Framehop,
    /// The `backtrace` crate.
    #[value(name = "backtrace")]
    Backtrace,
    /// Our walker on the `backtrace` crate.
    #[value(name = "our-backtrace")]
    BacktraceWalker,
    /// Our walker from the current frame.
    #[value(name = "our-current-frame")]
    CurrentFrame,
    /// Python's counting and its cycle collector, if `python3` is there.
    #[value(name = "CPython")]
    Python,
    /// The least possible work: memory touched, a chain followed.
    #[value(name = "floor")]
    Floor,
}

impl Contender {
    /// Whether this build can measure it.
    pub(crate) fn is_compiled_in(self) -> bool {
        let in_wasmtime = matches!(self, Self::Drc | Self::Copying | Self::Null | Self::Handle);
        cfg!(feature = "wasmtime") || !in_wasmtime
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}

impl Serialize for Contender {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Contender;
    use clap::ValueEnum;

    #[test]
    fn names_lead_back() {
        for contender in Contender::value_variants() {
            let name = contender.to_string();
            assert_eq!(Contender::from_str(&name, false).as_ref(), Ok(contender));
        }
    }
}
