//! Roots that no contract allows, remembered until they can be reported.
//!
//! A logger is foreign code, and none runs between the first mark and the last unmark. So a walk
//! remembers the first faults, and the collection logs them when it is over.

use crate::extern_ref::type_name_of_freed;
use crate::ref_count::abort_with;
use core::fmt;
use core::mem::MaybeUninit;

/// A live word of a frame: what it holds, and where it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Root {
    pub(crate) word: usize,
    /// The address of the word.
    pub(crate) slot: usize,
    pub(crate) pc: usize,
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, slot, pc } = self;
        write!(
            f,
            "root {word:#x} in slot {slot:#x} of the frame at pc {pc:#x}"
        )
    }
}

/// Why a root is a broken contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No box can be at such an address.
    Misaligned,
    /// No entry of the table is this reference.
    NotInTable,
    /// The box is dead.
    Freed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misaligned => "is misaligned",
            Self::NotInTable => "is not in the activations table",
            Self::Freed => "is a freed reference",
        })
    }
}

/// Faults whose root is remembered.
const REMEMBERED: usize = 8;

/// The faults of one walk.
#[derive(Debug)]
pub(crate) struct Faults {
    /// As many are initialised as there are, up to its length: a walk without faults pays for none.
    first: [MaybeUninit<(Root, Fault)>; REMEMBERED],
    immediate_bits: usize,
    len: usize,
    /// Whether each root may be a reference of another table.
    foreign: bool,
}

impl Faults {
    /// No faults. A word with one of `immediate_bits` never becomes one.
    pub(crate) fn new(immediate_bits: usize) -> Self {
        Self {
            first: [const { MaybeUninit::uninit() }; REMEMBERED],
            immediate_bits,
            len: 0,
            foreign: true,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether each root may be a reference of another table.
    pub(crate) fn are_foreign(&self) -> bool {
        self.foreign
    }

    /// Takes in a root that a visitor refused. Returns whether it is one: an immediate is not.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_in(&mut self, root: Root, fault: Fault) -> bool {
        // Only here, so that no reference pays for immediates.
        if root.word & self.immediate_bits != 0 {
            return false;
        }
        if let Some(free) = self.first.get_mut(self.len) {
            free.write((root, fault));
        }
        self.len += 1;
        self.foreign &= fault == Fault::NotInTable;
        true
    }

    /// Logs the faults. Aborts at the use of a freed reference that the quarantine still knows.
    pub(crate) fn report(&self) {
        for first in self.first.iter().take(self.len) {
            // SAFETY: `take_in` has written as many as there are.
            let (root, fault) = unsafe { first.assume_init_ref() };
            log::error!("externref gc: {root} {fault}");
            if let Some(of) = type_name_of_freed(root.word) {
                abort_with(format_args!("use of a freed reference: {root}, a {of}"));
            }
        }
        if self.len > REMEMBERED {
            log::error!(
                "externref gc: {} more roots are wrong",
                self.len - REMEMBERED
            );
        }
    }
}
