//! The stack maps of all compiled modules, found by return address.

use crate::module_maps::{Module, ModuleStackMaps};
use crate::stack_map::{StackMap, StackMapError};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use spin::RwLock;

/// How return addresses are matched with the safepoints of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matching {
    /// The producer recorded return addresses, as today's Cranelift does.
    ///
    /// A return address without a safepoint has no live references.
    Exact,
    /// The producer recorded where each call begins, as older Cranelifts did.
    ///
    /// A return address belongs to the last safepoint before it in the same
    /// function; before the first one nothing is live. A call with no live
    /// references must have a safepoint too, with an empty map.
    NearestPreceding,
}

/// Why a module cannot be registered. The registry is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The code, or a function, has no bytes.
    EmptyRange,
    /// A function lies outside the module's code.
    OutsideCode,
    /// Two functions of the module overlap.
    OverlappingFunctions,
    /// A safepoint lies outside every function.
    OutsideFunctions,
    /// One code offset has two different maps.
    ConflictingSafepoints,
    /// The code overlaps that of another registered module.
    OverlappingCode,
    /// The code would reach beyond the address space.
    AddressOverflow,
    /// The stack-map section is not one.
    MalformedSection,
    /// A stack map in the section is not one.
    StackMap(StackMapError),
    /// There was no memory.
    OutOfMemory,
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyRange => "a range of code is empty",
            Self::OutsideCode => "a function lies outside its module's code",
            Self::OverlappingFunctions => "two functions overlap",
            Self::OutsideFunctions => "a safepoint lies outside every function",
            Self::ConflictingSafepoints => "a code offset has two different stack maps",
            Self::OverlappingCode => "the code overlaps another registered module",
            Self::AddressOverflow => "the code reaches beyond the address space",
            Self::MalformedSection => "the stack-map section is malformed",
            Self::StackMap(error) => return write!(f, "a stack map is wrong: {error}"),
            Self::OutOfMemory => "out of memory",
        })
    }
}

impl core::error::Error for RegisterError {}

impl From<StackMapError> for RegisterError {
    fn from(error: StackMapError) -> Self {
        match error {
            StackMapError::OutOfMemory => Self::OutOfMemory,
            other => Self::StackMap(other),
        }
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

/// One registration of one module; what [`StackMapRegistry::unregister`] takes.
///
/// Dropping it leaves the module registered for as long as the registry lives.
#[derive(Debug, PartialEq, Eq)]
pub struct Registration {
    start: usize,
    /// The address of the [`Module`]: nothing else has it while it is registered.
    module: usize,
}

/// The stack maps of all modules whose code may be on a stack.
///
/// It is shared by all threads and contexts that run this code. Everything is
/// built before its lock is taken; the lock is held to insert or remove one
/// element of a sorted list, and for reading during a walk.
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
#[derive(Debug)]
pub struct StackMapRegistry {
    modules: RwLock<Modules>,
}

impl Default for StackMapRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl StackMapRegistry {
    /// An empty registry, which needs no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            modules: RwLock::new(Modules::new()),
        }
    }

    /// Registers a module whose code begins at address `base`.
    ///
    /// The same module may be registered several times at the same address; it
    /// stays until each registration is taken back.
    ///
    /// # Errors
    ///
    /// Every [`RegisterError`]; the registry is unchanged then.
    pub fn register(
        &self,
        base: usize,
        module: ModuleStackMaps,
    ) -> Result<Registration, RegisterError> {
        let module = module.finish(base)?;
        self.modules.write().insert(module)
    }

    /// Takes one registration back; the last one removes the module.
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
        let removed = self.modules.write().remove(&registration);
        removed.map(drop).ok_or(UnregisterError(registration))
    }

    /// Whether `pc` is a return address in any registered module's code.
    #[must_use]
    pub fn is_code(&self, pc: usize) -> bool {
        self.modules.read().module_at(pc).is_some()
    }

    /// Whether `pc` is a return address in a registered Wasm function.
    #[must_use]
    pub fn is_wasm(&self, pc: usize) -> bool {
        matches!(self.modules.read().find(pc), Found::Wasm(_))
    }

    /// One version of the registry, for a whole walk.
    pub(crate) fn read(&self) -> Reading<'_> {
        Reading(self.modules.read())
    }
}

/// Finds safepoints in one version of the registry.
#[derive(Debug)]
pub(crate) struct Reading<'r>(spin::RwLockReadGuard<'r, Modules>);
impl Reading<'_> {
    pub(crate) fn find(&self, pc: usize) -> Found<'_> {
        self.0.find(pc)
    }
}

/// What a return address turned out to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'m> {
    /// Not compiled code, or code without references such as a trampoline.
    Outside,
    Code,
    /// In a Wasm function; with the map, if anything is live there.
    Wasm(Option<&'m StackMap>),
}

/// Registered modules, sorted by address, none overlapping.
#[derive(Debug)]
pub(crate) struct Modules {
    entries: Vec<Entry>,
    /// The end of each entry, side by side: a search stays within few cache lines.
    ends: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    start: usize,
    registrations: usize,
    /// One element, behind an address that moving the entry does not change.
    module: Vec<Module>,
}

impl Entry {
    fn module(&self) -> &Module {
        &self.module[0]
    }

    fn registration(&self) -> Registration {
        Registration {
            start: self.start,
            module: core::ptr::from_ref(self.module()).addr(),
        }
    }
}

impl Modules {
    const fn new() -> Self {
        Self {
            entries: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// What the return address `pc` is.
    #[inline]
    pub(crate) fn find(&self, pc: usize) -> Found<'_> {
        match self.module_at(pc) {
            Some(entry) => entry.module().find(pc - entry.start),
            None => Found::Outside,
        }
    }

    /// The module in whose code the call before `pc` stands.
    #[inline]
    fn module_at(&self, pc: usize) -> Option<&Entry> {
        let call = pc.wrapping_sub(1);
        let index = self.ends.partition_point(|&end| end <= call);
        self.entries.get(index).filter(|entry| entry.start <= call)
    }

    fn insert(&mut self, module: Vec<Module>) -> Result<Registration, RegisterError> {
        let Range { start, end } = module[0].addresses();
        let index = self.ends.partition_point(|&end| end <= start);
        let there = self.entries.get_mut(index);
        if let Some(entry) = there.filter(|entry| entry.start < end) {
            if entry.module() != &module[0] {
                return Err(RegisterError::OverlappingCode);
            }
            entry.registrations += 1;
            return Ok(entry.registration());
        }
        self.entries
            .try_reserve(1)
            .and_then(|()| self.ends.try_reserve(1))
            .map_err(|_| RegisterError::OutOfMemory)?;
        let entry = Entry {
            start,
            registrations: 1,
            module,
        };
        let registration = entry.registration();
        self.entries.insert(index, entry);
        self.ends.insert(index, end);
        Ok(registration)
    }

    /// `None` if there is no such module; else what is to be freed, if anything.
    fn remove(&mut self, registration: &Registration) -> Option<Option<Entry>> {
        let start = registration.start;
        let index = self
            .entries
            .binary_search_by_key(&start, |entry| entry.start);
        let index = index.ok()?;
        let entry = &mut self.entries[index];
        if entry.registration() != *registration {
            return None;
        }
        entry.registrations -= 1;
        let last = entry.registrations == 0;
        Some(last.then(|| {
            self.ends.remove(index);
            self.entries.remove(index)
        }))
    }
}

/// Spreads the bits of `word` over the whole result.
#[inline]
pub(crate) fn mix(word: u64) -> u64 {
    let product = u128::from(word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    let (low, high) = (product & u128::from(u64::MAX), product >> 64);
    #[expect(clippy::cast_possible_truncation, reason = "both halves have 64 bits")]
    {
        (low ^ high) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use static_assertions::assert_impl_all;

    assert_impl_all!(StackMapRegistry: Send, Sync);
    assert_impl_all!(Registration: Send, Sync);

    fn module(bytes: u32, safepoint: u32, word: u32) -> ModuleStackMaps {
        let mut module = ModuleStackMaps::new(bytes, Matching::Exact);
        module.function(0..bytes).unwrap();
        let map = StackMap::new(None, [word]).unwrap();
        module.safepoint(safepoint, map).unwrap();
        module
    }

    fn live_words(registry: &StackMapRegistry, pc: usize) -> Option<Vec<u32>> {
        match registry.modules.read().find(pc) {
            Found::Wasm(Some(map)) => Some(map.live_words().collect()),
            _ => None,
        }
    }

    fn unregister(
        registry: &StackMapRegistry,
        registration: Registration,
    ) -> Result<(), UnregisterError> {
        // SAFETY: these tests run no compiled code.
        unsafe { registry.unregister(registration) }
    }

    #[test]
    fn each_return_address_finds_its_module() {
        let registry = StackMapRegistry::new();
        for (base, word) in [(0x3000, 3), (0x1000, 1), (0x2000, 2)] {
            registry.register(base, module(0x100, 0x10, word)).unwrap();
        }
        for (base, word) in [(0x1000, 1), (0x2000, 2), (0x3000, 3)] {
            assert_eq!(live_words(&registry, base + 0x10), Some(vec![word]));
            assert_eq!(live_words(&registry, base + 0x11), None);
            assert!(!registry.is_code(base), "no call ends where code begins");
            assert!(registry.is_code(base + 0x100), "a call may end the code");
            assert!(!registry.is_code(base + 0x101));
        }
    }

    #[test]
    fn code_without_functions_is_not_wasm() {
        let registry = StackMapRegistry::new();
        let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
        module.function(0x40..0x80).unwrap();
        registry.register(0x1000, module).unwrap();
        for (offset, wasm) in [(0x20, false), (0x41, true), (0x80, true), (0x81, false)] {
            assert!(registry.is_code(0x1000 + offset));
            assert_eq!(registry.is_wasm(0x1000 + offset), wasm);
        }
    }

    #[test]
    fn overlap_is_an_error_and_changes_nothing() {
        let registry = StackMapRegistry::new();
        registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
        for (base, bytes) in [
            (0xf80, 0x100),
            (0x1080, 0x100),
            (0x1040, 0x20),
            (0xf00, 0x400),
        ] {
            assert_eq!(
                registry.register(base, module(bytes, 0x10, 2)),
                Err(RegisterError::OverlappingCode)
            );
        }
        assert_eq!(
            registry.register(0x1000, module(0x100, 0x10, 2)),
            Err(RegisterError::OverlappingCode)
        );
        assert_eq!(live_words(&registry, 0x1010), Some(vec![1]));
        registry.register(0xf00, module(0x100, 0x10, 2)).unwrap();
        registry.register(0x1100, module(0x100, 0x10, 3)).unwrap();
    }

    #[test]
    fn the_end_of_the_address_space_is_an_error() {
        let registry = StackMapRegistry::new();
        assert_eq!(
            registry.register(usize::MAX - 0x10, module(0x100, 0x10, 1)),
            Err(RegisterError::AddressOverflow)
        );
    }

    #[test]
    fn registrations_are_counted() {
        let registry = StackMapRegistry::new();
        let first = registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
        let second = registry.register(0x1000, module(0x100, 0x10, 1)).unwrap();
        unregister(&registry, first).unwrap();
        assert_eq!(live_words(&registry, 0x1010), Some(vec![1]));
        unregister(&registry, second).unwrap();
        assert!(!registry.is_code(0x1010));
        registry.register(0x1080, module(0x100, 0x10, 2)).unwrap();
    }

    #[test]
    fn a_foreign_registration_comes_back() {
        let (ours, theirs) = (StackMapRegistry::new(), StackMapRegistry::new());
        ours.register(0x1000, module(0x100, 0x10, 1)).unwrap();
        let foreign = theirs.register(0x1000, module(0x100, 0x10, 1)).unwrap();
        let UnregisterError(foreign) = unregister(&ours, foreign).unwrap_err();
        assert!(ours.is_code(0x1010));
        unregister(&theirs, foreign).unwrap();
        assert!(!theirs.is_code(0x1010));
    }
}
