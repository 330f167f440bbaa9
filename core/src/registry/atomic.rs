//! What versions are counted with; their model checker has another such module.

pub(super) use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
