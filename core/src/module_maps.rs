//! What a compiler declares of a module, to be checked when it is registered.

mod buckets;
mod error;
mod functions;
mod interner;
pub(crate) mod lists;
mod matching;
mod module;
mod safepoints;

pub use error::RegisterError;
pub use matching::Matching;
pub(crate) use module::{Found, Module, Place};

use crate::stack_map::StackMap;
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::ops::Range;
use functions::Functions;
use interner::intern;
use lists::{push, reserve, sort};
use safepoints::Safepoints;

/// What a compiler knows of one module: its functions and safepoints.
///
/// Offsets are in bytes from the start of the module's code. Only Wasm
/// functions are declared; trampolines and constants are merely part of the
/// code. Everything is checked when the module is
/// [registered](crate::StackMapRegistry::register).
///
/// ```
/// use vmexternref_core::{Matching, ModuleStackMaps, StackMap, StackMapRegistry};
///
/// let mut module = ModuleStackMaps::new(0x200, Matching::Strict);
/// module.function(0x000..0x140)?;
/// module.function(0x140..0x200)?;
/// // Two words are live in a frame of 6 where the call returns to 0x24.
/// module.safepoint(0x24, StackMap::new(Some(6), [1, 4])?)?;
///
/// let registry = StackMapRegistry::new();
/// registry.register(0x4000_0000, module)?;
/// assert!(registry.is_wasm(0x4000_0024));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ModuleStackMaps {
    code_bytes: u32,
    matching: Matching,
    /// Where each begins and ends.
    functions: Vec<(u32, u32)>,
    /// Code offsets, each with the index of its map, or [`NO_MAP`].
    safepoints: Vec<(u32, u32)>,
    maps: Vec<StackMap>,
}

/// In place of the index of a map: nothing is live.
const NO_MAP: u32 = u32::MAX;

impl ModuleStackMaps {
    /// A module of `code_bytes` bytes, with no functions yet.
    #[must_use]
    pub const fn new(code_bytes: u32, matching: Matching) -> Self {
        Self {
            code_bytes,
            matching,
            functions: Vec::new(),
            safepoints: Vec::new(),
            maps: Vec::new(),
        }
    }

    /// How return addresses are matched with the safepoints.
    #[must_use]
    pub const fn matching(&self) -> Matching {
        self.matching
    }

    /// Declares that a Wasm function's code is at `range`.
    ///
    /// A producer that does not know its functions declares all of its code
    /// as one; with [`Matching::NearestPreceding`] that would be wrong.
    ///
    /// # Errors
    ///
    /// An empty range, one outside the code, or no memory.
    pub fn function(&mut self, range: Range<u32>) -> Result<(), RegisterError> {
        if range.is_empty() {
            return Err(RegisterError::EmptyRange);
        }
        if range.end > self.code_bytes {
            return Err(RegisterError::OutsideCode);
        }
        push(&mut self.functions, (range.start, range.end))
    }

    /// Declares which words are live at the safepoint at `offset`.
    ///
    /// The offset is that of the return address, behind the call; with
    /// [`Matching::NearestPreceding`] it is where the call begins.
    ///
    /// # Errors
    ///
    /// No memory.
    pub fn safepoint(&mut self, offset: u32, map: StackMap) -> Result<(), RegisterError> {
        let index = self.next_map()?;
        reserve(&mut self.safepoints, 1)?;
        push(&mut self.maps, map)?;
        self.safepoints.push((offset, index));
        Ok(())
    }

    /// Declares that a call returns to `offset`, and that nothing is live there, unless
    /// [`safepoint`](Self::safepoint) says otherwise.
    ///
    /// With [`Matching::Strict`] a producer declares all of its calls so, before or after the
    /// safepoints. With [`Matching::Exact`] it makes no difference.
    ///
    /// # Errors
    ///
    /// [`NotReturnAddresses`](RegisterError::NotReturnAddresses) with
    /// [`Matching::NearestPreceding`], or no memory.
    pub fn return_address(&mut self, offset: u32) -> Result<(), RegisterError> {
        if self.matching == Matching::NearestPreceding {
            return Err(RegisterError::NotReturnAddresses);
        }
        push(&mut self.safepoints, (offset, NO_MAP))
    }

    /// Declares safepoints that share `maps`: code offsets, each with the index of its map.
    ///
    /// All of them are declared, or none.
    #[cfg(feature = "wasmtime-environ")]
    pub(crate) fn sharing_safepoints(
        &mut self,
        maps: Vec<StackMap>,
        safepoints: Vec<(u32, u32)>,
    ) -> Result<(), RegisterError> {
        let first = self.next_map()?;
        u32::try_from(self.maps.len() + maps.len()).map_err(|_| RegisterError::OutOfMemory)?;
        reserve(&mut self.maps, maps.len())?;
        reserve(&mut self.safepoints, safepoints.len())?;
        self.maps.extend(maps);
        let safepoints = safepoints.into_iter();
        self.safepoints
            .extend(safepoints.map(|(offset, map)| (offset, first + map)));
        Ok(())
    }

    /// The index of the map that is declared next.
    fn next_map(&self) -> Result<u32, RegisterError> {
        let index = u32::try_from(self.maps.len()).ok();
        index
            .filter(|&index| index != NO_MAP)
            .ok_or(RegisterError::OutOfMemory)
    }

    /// Checks everything and builds what lookups use.
    pub(crate) fn finish(self, base: usize) -> Result<Module, RegisterError> {
        let code_bytes = NonZeroU32::new(self.code_bytes).ok_or(RegisterError::EmptyRange)?;
        base.checked_add(self.code_bytes as usize)
            .ok_or(RegisterError::AddressOverflow)?;
        let functions = Functions::new(self.functions)?;
        let mut list = self.safepoints;
        sort(&mut list);
        let maps = intern(self.maps, &mut list)?;
        let safepoints = Safepoints::new(self.matching, list, &maps, &functions)?;
        Ok(Module {
            start: base,
            code_bytes,
            strict: self.matching == Matching::Strict,
            safepoints,
            maps,
            functions,
        })
    }
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "some modules have one function"
)]
mod tests {
    use super::*;

    const BASE: usize = 0x1000;

    fn map(words: &[u32]) -> StackMap {
        StackMap::new(Some(8), words.iter().copied()).unwrap()
    }

    fn build(
        matching: Matching,
        functions: &[Range<u32>],
        safepoints: &[(u32, &[u32])],
    ) -> Result<Module, RegisterError> {
        let mut module = ModuleStackMaps::new(0x100, matching);
        assert_eq!(module.matching(), matching);
        for function in functions {
            module.function(function.clone())?;
        }
        for &(offset, words) in safepoints {
            module.safepoint(offset, map(words))?;
        }
        module.finish(BASE)
    }

    /// `None`: not Wasm. `Some([])`: Wasm with nothing live.
    fn found(module: &Module, offset: usize) -> Option<Vec<u32>> {
        match module.find((BASE + offset).wrapping_sub(1)) {
            Found::Outside | Found::Code | Found::Undeclared => None,
            Found::Wasm(map) => Some(map.map_or(vec![], |map| map.live_words().collect())),
        }
    }

    #[test]
    fn exact_takes_the_return_address_and_nothing_else() {
        let functions = [0..0x40, 0x40..0x80];
        let module = build(Matching::Exact, &functions, &[(0x10, &[1]), (0x20, &[])]).unwrap();
        assert_eq!(found(&module, 0x10), Some(vec![1]));
        assert_eq!(found(&module, 0x11), Some(vec![]));
        assert_eq!(found(&module, 0x20), Some(vec![]));
        assert_eq!(found(&module, 0x50), Some(vec![]));
        assert_eq!(found(&module, 0x90), None);
    }

    #[test]
    fn strict_knows_what_was_declared_and_nothing_else() {
        let declare = |first_maps: bool| {
            let mut module = ModuleStackMaps::new(0x100, Matching::Strict);
            module.function(0..0x40)?;
            for maps in [first_maps, !first_maps] {
                if maps {
                    module.safepoint(0x10, map(&[1]))?;
                    module.safepoint(0x20, map(&[]))?;
                } else {
                    [0x10, 0x20, 0x30, 0x30]
                        .into_iter()
                        .try_for_each(|offset| module.return_address(offset))?;
                }
            }
            module.finish(BASE)
        };
        let module = declare(true).unwrap();
        assert_eq!(module, declare(false).unwrap());
        for (offset, live) in [(0x10, vec![1]), (0x20, vec![]), (0x30, vec![])] {
            assert_eq!(found(&module, offset), Some(live), "{offset:#x}");
        }
        for offset in [0x11, 0x1f, 0x40] {
            let found = module.find(BASE + offset - 1);
            assert!(matches!(found, Found::Undeclared), "{offset:#x}: {found:?}");
        }
        assert!(matches!(module.find(BASE + 0x40), Found::Code));
    }

    #[test]
    fn return_addresses_are_nothing_to_others() {
        let with_return_address = |matching, offset: u32| {
            let mut module = ModuleStackMaps::new(0x100, matching);
            module.function(0..0x40)?;
            module.return_address(offset)?;
            module.finish(BASE)
        };
        let without = build(Matching::Exact, &[0..0x40], &[]).unwrap();
        assert_eq!(with_return_address(Matching::Exact, 0x10), Ok(without));
        for matching in [Matching::Strict, Matching::Exact] {
            for offset in [0, 0x41, u32::MAX] {
                let refused = with_return_address(matching, offset).unwrap_err();
                assert_eq!(refused, RegisterError::OutsideFunctions);
            }
        }
        let refused = with_return_address(Matching::NearestPreceding, 0x10).unwrap_err();
        assert_eq!(refused, RegisterError::NotReturnAddresses);
    }

    /// The original took the map of the function before (and CVE-2021-39218:
    /// a safepoint without live references took that of an earlier one).
    #[test]
    fn nearest_preceding_stays_in_its_function() {
        let functions = [0..0x40, 0x40..0x80, 0x80..0xc0];
        let safepoints: &[(u32, &[u32])] = &[(0x10, &[1]), (0x20, &[]), (0x30, &[3]), (0x90, &[2])];
        let module = build(Matching::NearestPreceding, &functions, safepoints).unwrap();
        assert_eq!(found(&module, 0x05), Some(vec![]), "before the first");
        assert_eq!(found(&module, 0x10), Some(vec![]), "the call begins here");
        assert_eq!(found(&module, 0x15), Some(vec![1]));
        assert_eq!(found(&module, 0x25), Some(vec![]), "an empty map counts");
        assert_eq!(found(&module, 0x40), Some(vec![3]));
        assert_eq!(
            found(&module, 0x50),
            Some(vec![]),
            "a function without maps"
        );
        assert_eq!(
            found(&module, 0x80),
            Some(vec![]),
            "its last instruction is a call"
        );
        assert_eq!(found(&module, 0x95), Some(vec![2]));
        assert_eq!(found(&module, 0xc1), None);
    }

    #[test]
    fn a_call_may_end_its_function() {
        let module = build(Matching::Exact, &[0..0x40], &[(0x40, &[3])]).unwrap();
        assert_eq!(found(&module, 0x40), Some(vec![3]));
        let module = build(Matching::NearestPreceding, &[0..0x40], &[(0x3c, &[3])]).unwrap();
        assert_eq!(found(&module, 0x40), Some(vec![3]));
    }

    #[test]
    fn code_reaches_from_its_first_call_to_its_end() {
        let module = build(Matching::Exact, &[0..0x40, 0xc0..0x100], &[]).unwrap();
        assert_eq!((module.start(), module.last()), (BASE, BASE + 0xff));
        for (offset, wasm) in [(0x40, true), (0x41, false), (0xc0, false), (0x100, true)] {
            match module.find(BASE + offset - 1) {
                Found::Outside => panic!("{offset:#x} is outside"),
                Found::Code => assert!(!wasm, "{offset:#x}"),
                Found::Wasm(_) => assert!(wasm, "{offset:#x}"),
                other => panic!("{offset:#x}: {other:?}"),
            }
        }
        for call in [0, BASE - 1, BASE + 0x100, BASE + (1 << 31), usize::MAX] {
            assert!(matches!(module.find(call), Found::Outside), "{call:#x}");
        }
    }

    #[test]
    fn equal_maps_are_stored_once() {
        let safepoints: &[(u32, &[u32])] =
            &[(0x10, &[1]), (0x20, &[1]), (0x30, &[2]), (0x38, &[1])];
        let module = build(Matching::Exact, &[0..0x40], safepoints).unwrap();
        assert_eq!(module.maps.len(), 2);
    }

    #[test]
    fn bad_modules_are_errors() {
        use RegisterError::*;
        for matching in [
            Matching::Strict,
            Matching::Exact,
            Matching::NearestPreceding,
        ] {
            let build = |functions: &[Range<u32>], safepoints: &[(u32, &[u32])]| {
                build(matching, functions, safepoints).unwrap_err()
            };
            assert_eq!(build(&[4..4], &[]), EmptyRange);
            assert_eq!(build(&[0..0x101], &[]), OutsideCode);
            assert_eq!(build(&[0..8, 4..12], &[]), OverlappingFunctions);
            assert_eq!(build(&[0..0x40], &[(0x50, &[1])]), OutsideFunctions);
            assert_eq!(build(&[0..0x40], &[(u32::MAX, &[1])]), OutsideFunctions);
            assert_eq!(
                build(&[0..0x40], &[(0x10, &[1]), (0x10, &[2])]),
                ConflictingSafepoints
            );
        }
        assert_eq!(
            build(Matching::Exact, &[0..0x40], &[(0, &[1])]).unwrap_err(),
            OutsideFunctions,
            "no call returns to where code begins"
        );
        let empty = ModuleStackMaps::new(0, Matching::Exact);
        assert_eq!(empty.finish(BASE).unwrap_err(), EmptyRange);
        let long = ModuleStackMaps::new(0x100, Matching::Exact);
        assert_eq!(long.finish(usize::MAX - 0x10).unwrap_err(), AddressOverflow);
    }

    #[test]
    fn the_same_safepoint_twice_is_one() {
        let twice: &[(u32, &[u32])] = &[(0x10, &[1]), (0x10, &[1])];
        let module = build(Matching::Exact, &[0..0x40], twice).unwrap();
        assert_eq!(
            module,
            build(Matching::Exact, &[0..0x40], &twice[..1]).unwrap()
        );
        assert_ne!(module, build(Matching::Exact, &[0..0x40], &[]).unwrap());
    }
}
