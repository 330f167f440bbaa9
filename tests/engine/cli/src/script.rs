//! Scripts in the language of the specification's tests.

use crate::session::walker_kind::WalkerKind;

pub(crate) mod find;
mod instances;
mod report;
mod runner;
mod values;

pub use report::{Report, Tally};
pub use runner::{run_script, run_script_text};

/// The stack of scripts, in bytes.
///
/// It is enough for every recursion that ends. Some scripts recurse without end; with zeal, n
/// frames of stack then mean walks of n² / 2 frames.
pub const fn script_stack(walker: WalkerKind, zeal: bool) -> usize {
    match (walker, zeal) {
        (_, false) => 512 << 10,
        (WalkerKind::Backtrace, true) => 64 << 10,
        (_, true) => 128 << 10,
    }
}
