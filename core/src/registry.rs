//! The stack maps of all compiled modules, found by return address.

mod atomic;
mod chain;
mod entry;
mod node;
mod registration;
mod tree;
mod versions;
mod writer;

pub use registration::{Registration, UnregisterError};

use crate::module_maps::{Found, ModuleStackMaps, Place, RegisterError};
use crate::try_box::try_box;
use atomic::{AtomicPtr, AtomicUsize};
use core::fmt;
use core::ops::Range;
use core::ptr;
use entry::Entry;
use spin::Mutex;
use versions::Reader;
use writer::{Luggage, Node, Step, Versions, Writer};

/// The stack maps of all modules whose code may be on a stack.
///
/// It is shared by all threads and contexts that run this code. Collections
/// take no lock: each reads the version of the registry that was the newest
/// when it began. So nobody waits for a collection, and a collection waits for
/// nobody, not even for a registration that it interrupted. Registrations and
/// unregistrations take turns, each for the time of replacing a few nodes of a
/// tree, whatever the number of modules. An interrupt or signal handler must
/// not register or unregister: the code that it interrupted could be doing so.
///
/// What an unregistered module used is freed as soon as no collection can see
/// it, by whoever registers or unregisters then, or calls
/// [`reclaim`](Self::reclaim); at the latest with the registry.
///
/// ```
/// use vmexternref_core::{Matching, ModuleStackMaps, StackMap, StackMapRegistry};
///
/// static STACK_MAPS: StackMapRegistry = StackMapRegistry::new();
///
/// let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
/// module.function(0x00..0x80)?;
/// module.function(0x80..0x100)?;
/// module.safepoint(0x24, StackMap::new(Some(6), [1, 2])?)?;
/// let registration = STACK_MAPS.register(0x4000_0000, module)?;
/// assert!(STACK_MAPS.is_wasm(0x4000_0024));
///
/// // SAFETY: no frame of this code is on any stack.
/// unsafe { STACK_MAPS.unregister(registration)? };
/// assert!(!STACK_MAPS.is_wasm(0x4000_0024));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct StackMapRegistry {
    versions: Versions,
    writer: Mutex<Writer>,
}

impl Default for StackMapRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StackMapRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackMapRegistry")
            .field("is_locked", &self.writer.is_locked())
            .finish_non_exhaustive()
    }
}

impl StackMapRegistry {
    /// An empty registry, which needs no memory.
    #[must_use]
    pub const fn new() -> Self {
        let readers = [AtomicUsize::new(0), AtomicUsize::new(0)];
        Self {
            versions: Versions::new(
                AtomicPtr::new(ptr::null_mut()),
                AtomicUsize::new(0),
                readers,
            ),
            writer: Mutex::new(Writer::new()),
        }
    }

    /// Registers a module whose code begins at address `base`.
    ///
    /// The same module, declared in the same way, may be registered several times at the same
    /// address. It stays until each registration is taken back.
    ///
    /// # Errors
    ///
    /// Every [`RegisterError`]; the registry is unchanged then.
    pub fn register(
        &self,
        base: usize,
        module: ModuleStackMaps,
    ) -> Result<Registration, RegisterError> {
        let entry = Entry::new(module.finish(base)?);
        let entry = try_box(entry).map_err(|_| RegisterError::OutOfMemory)?;
        let mut luggage = Luggage::with(entry);
        loop {
            match self.write(&mut luggage, Writer::insert) {
                Step::Done(result) => return result,
                Step::Again => {}
                Step::Nodes(count) => luggage.bring(count)?,
            }
        }
    }

    /// Takes one registration back; the last one removes the module.
    ///
    /// It succeeds without memory too. Then the module is not found any more,
    /// but what it uses is only freed when a later registration or
    /// unregistration finds memory.
    ///
    /// # Errors
    ///
    /// The registration, if it belongs to another registry.
    ///
    /// # Safety
    ///
    /// If this is the module's last registration, no frame of its code is on a
    /// stack that a collection with this registry may walk: such a frame would
    /// no longer count as Wasm, and what it holds could be freed.
    pub unsafe fn unregister(&self, registration: Registration) -> Result<(), UnregisterError> {
        let mut luggage = Luggage::default();
        let found = loop {
            let step = self.write(&mut luggage, |writer, versions, luggage| {
                writer.remove(versions, luggage, &registration)
            });
            match step {
                Step::Done(found) => break found,
                Step::Again => {}
                Step::Nodes(count) if luggage.bring(count).is_ok() => {}
                Step::Nodes(_) => {
                    let hide = |writer: &mut Writer, versions: &_, _: &mut _| {
                        writer.hide(versions, &registration)
                    };
                    break self.write(&mut luggage, hide);
                }
            }
        };
        if found {
            Ok(())
        } else {
            Err(UnregisterError(registration))
        }
    }

    /// Frees what unregistered modules used and no collection can see any more.
    ///
    /// Registering and unregistering do so too. It does nothing while another
    /// thread registers or unregisters, and never waits.
    pub fn reclaim(&self) {
        let mut luggage = Luggage::default();
        if let Some(mut writer) = self.writer.try_lock() {
            writer.settle(&self.versions, &mut luggage);
        }
    }

    /// Whether `pc` is a return address in any registered module's code.
    #[must_use]
    pub fn is_code(&self, pc: usize) -> bool {
        !matches!(self.read().find(pc), Found::Outside)
    }

    /// Whether `pc` is a return address in a registered Wasm function.
    #[must_use]
    pub fn is_wasm(&self, pc: usize) -> bool {
        matches!(self.read().find(pc), Found::Wasm(_) | Found::Undeclared)
    }

    /// The addresses of the registered module that the return address `pc` lies in.
    ///
    /// For whoever looks for a mistake: `pc` less the start of the module is the offset, in bytes,
    /// that a safepoint of this call has.
    ///
    /// ```
    /// use vmexternref_core::{GcOutcome, Matching, ModuleStackMaps, StackMapRegistry};
    ///
    /// let registry = StackMapRegistry::new();
    /// let mut module = ModuleStackMaps::new(0x100, Matching::Strict);
    /// module.function(0x40..0x80)?;
    /// registry.register(0x4000_0000, module)?;
    ///
    /// let outcome = GcOutcome::KeptUndeclared { pc: 0x4000_0064 }; // of a report
    /// if let GcOutcome::KeptUndeclared { pc } = outcome {
    ///     let module = registry.module_at(pc).expect("it is registered still");
    ///     assert_eq!(pc - module.start, 0x64); // where a call was not declared
    ///     assert_eq!(registry.function_at(pc), Some(0x4000_0040..0x4000_0080));
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn module_at(&self, pc: usize) -> Option<Range<usize>> {
        self.read().place(pc).map(|place| place.module)
    }

    /// The addresses of the Wasm function that the return address `pc` lies in.
    #[must_use]
    pub fn function_at(&self, pc: usize) -> Option<Range<usize>> {
        self.read().place(pc)?.function
    }

    /// Announces a reader of what is registered now.
    #[inline]
    pub(crate) fn read(&self) -> Reading<'_> {
        Reading(self.versions.read())
    }

    /// Does `work` under the lock, and then frees what it has left in `luggage`.
    fn write<R>(
        &self,
        luggage: &mut Luggage,
        work: impl FnOnce(&mut Writer, &Versions, &mut Luggage) -> R,
    ) -> R {
        let result = work(&mut self.writer.lock(), &self.versions, luggage);
        luggage.unpack();
        result
    }
}

impl Drop for StackMapRegistry {
    fn drop(&mut self) {
        // SAFETY: readers borrow the registry, so that none is left.
        drop(unsafe { self.writer.get_mut().clear(&self.versions) });
    }
}

/// One version of a registry, for as long as somebody reads it.
#[derive(Debug)]
pub(crate) struct Reading<'r>(Reader<'r, Node>);

impl Reading<'_> {
    /// What the return address `pc` is.
    #[inline]
    pub(crate) fn find(&self, pc: usize) -> Found<'_> {
        let call = pc.wrapping_sub(1);
        let entry = self.entry(call);
        entry.map_or(Found::Outside, |entry| entry.find(call))
    }

    /// Where the return address `pc` is.
    pub(crate) fn place(&self, pc: usize) -> Option<Place> {
        let call = pc.wrapping_sub(1);
        self.entry(call)?.place(call)
    }

    /// The last module that begins at or before the address `call`.
    #[inline]
    fn entry(&self, call: usize) -> Option<&Entry> {
        let root = self.0.version()?;
        // SAFETY: what a version refers to is alive as long as it has a reader.
        unsafe { root.last_at_or_before(call).map(|entry| entry.as_ref()) }
    }
}

#[cfg(test)]
mod tests;
