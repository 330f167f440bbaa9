//! What a host gets for a registered module, and gives back.

use core::fmt;
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// One registration of one module; what
/// [`StackMapRegistry::unregister`](crate::StackMapRegistry::unregister) takes.
///
/// Dropping it leaves the module registered for as long as the registry lives.
///
/// ```
/// use vmexternref_core::{Matching, ModuleStackMaps, StackMapRegistry};
///
/// let registry = StackMapRegistry::new();
/// let module = || ModuleStackMaps::new(0x100, Matching::Exact);
/// let registration = registry.register(0x1000, module())?;
/// // SAFETY: no frame is in that code any more.
/// unsafe { registry.unregister(registration)? };
/// registry.register(0x1000, module())?; // other code, at the same place
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
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
///
/// ```
/// use vmexternref_core::{Matching, ModuleStackMaps, StackMapRegistry, UnregisterError};
///
/// let (owner, other) = (StackMapRegistry::new(), StackMapRegistry::new());
/// let registration = owner.register(0x1000, ModuleStackMaps::new(0x100, Matching::Exact))?;
/// // SAFETY: no frame is in that code.
/// let Err(UnregisterError(registration)) = (unsafe { other.unregister(registration) }) else {
///     panic!("it is not registered there");
/// };
/// // SAFETY: as above.
/// unsafe { owner.unregister(registration)? };
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UnregisterError(pub Registration);

impl fmt::Display for UnregisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the registration belongs to another registry")
    }
}

impl core::error::Error for UnregisterError {}
