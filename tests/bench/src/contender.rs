//! The contenders.

use core::fmt;

/// Our engine and library, and everything to compare them with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    /// `vmexternref` and its test engine.
    Ours,
    /// Wasmtime with deferred reference counting.
    Drc,
    /// Wasmtime with its copying collector, the default.
    Copying,
    /// Wasmtime without any collection.
    Null,
    /// Numbers that a guest of Wasmtime holds, and a slab in its host.
    Handle,
    /// Numbers that a guest of our engine holds, and a slab in its host.
    OurHandle,
    /// `Rc<dyn Any>`.
    Rc,
    /// `Arc<dyn Any>`.
    Arc,
    /// A slab of boxes.
    Slab,
    /// `malloc` and `free`.
    Malloc,
    /// A B-tree of modules with sorted safepoints.
    BTree,
    /// The `framehop` crate.
    Framehop,
    /// The `backtrace` crate.
    Backtrace,
    /// Our walker on the `backtrace` crate.
    BacktraceWalker,
    /// Our walker from the current frame.
    CurrentFrame,
    /// The least possible work: memory touched, a chain followed.
    Floor,
}

impl Contender {
    const NAMES: [(Self, &'static str); 16] = [
        (Self::Ours, "ours"),
        (Self::Drc, "DRC"),
        (Self::Copying, "copying"),
        (Self::Null, "null"),
        (Self::Handle, "handle"),
        (Self::OurHandle, "handle-in-ours"),
        (Self::Rc, "Rc"),
        (Self::Arc, "Arc"),
        (Self::Slab, "slab"),
        (Self::Malloc, "malloc"),
        (Self::BTree, "B-tree"),
        (Self::Framehop, "framehop"),
        (Self::Backtrace, "backtrace"),
        (Self::BacktraceWalker, "our-backtrace"),
        (Self::CurrentFrame, "our-current-frame"),
        (Self::Floor, "floor"),
    ];

    /// The contender of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(_, other)| *other == name);
        found.map(|&(contender, _)| contender)
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.iter().find(|(contender, _)| contender == self);
        f.pad(named.map_or("?", |(_, name)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::Contender;

    #[test]
    fn names_lead_back() {
        for (contender, name) in Contender::NAMES {
            assert_eq!(Contender::parse(name), Some(contender));
            assert_eq!(contender.to_string(), name);
        }
    }
}
