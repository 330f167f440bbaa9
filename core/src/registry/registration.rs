//! What a host gets for a registered module, and gives back.

use core::fmt;
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// One registration of one module; what
/// [`StackMapRegistry::unregister`](crate::StackMapRegistry::unregister) takes.
///
/// Dropping it leaves the module registered for as long as the registry lives.
#[derive(Debug, PartialEq, Eq)]
pub struct Registration {
    pub(super) registry: RegistryNumber,
    pub(super) start: usize,
    /// Distinct for each module that the registry ever had.
    pub(super) serial: u64,
}

/// A number that no other registry of the process has, or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RegistryNumber(NonZeroUsize);

impl RegistryNumber {
    /// A new number.
    ///
    /// `None` when all were given out, so that none is ever given out twice:
    /// after four billion registries on a 32-bit target.
    pub(super) fn new() -> Option<Self> {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: only the number itself counts.
        let last = LAST.fetch_update(Relaxed, Relaxed, |last| last.checked_add(1));
        NonZeroUsize::new(last.ok()? + 1).map(Self)
    }
}

/// The registration belongs to another registry; it comes back.
#[derive(Debug)]
pub struct UnregisterError(pub Registration);

impl fmt::Display for UnregisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the registration belongs to another registry")
    }
}

impl core::error::Error for UnregisterError {}
