//! The stack maps of one module: collecting them, and finding them again.

use crate::offset_map::OffsetMap;
use crate::registry::{Found, Matching, RegisterError};
use crate::stack_map::StackMap;
use alloc::vec::Vec;
use core::ops::Range;
use hashbrown::HashTable;

/// What a compiler knows of one module: its functions and safepoints.
///
/// Offsets are in bytes from the start of the module's code. Only Wasm
/// functions are declared; trampolines and constants are merely part of the
/// code. Everything is checked when the module is
/// [registered](crate::StackMapRegistry::register).
#[derive(Debug)]
pub struct ModuleStackMaps {
    code_bytes: u32,
    matching: Matching,
    functions: Vec<Range<u32>>,
    safepoints: Vec<(u32, StackMap)>,
}

impl ModuleStackMaps {
    /// A module of `code_bytes` bytes, with no functions yet.
    #[must_use]
    pub const fn new(code_bytes: u32, matching: Matching) -> Self {
        Self {
            code_bytes,
            matching,
            functions: Vec::new(),
            safepoints: Vec::new(),
        }
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
        push(&mut self.functions, range)
    }

    /// Declares which words are live at the safepoint at `offset`.
    ///
    /// With [`Matching::Exact`] the offset is that of the return address,
    /// behind the call; otherwise it is where the call begins.
    ///
    /// # Errors
    ///
    /// No memory.
    pub fn safepoint(&mut self, offset: u32, map: StackMap) -> Result<(), RegisterError> {
        push(&mut self.safepoints, (offset, map))
    }

    /// Declares the safepoints of a `.wasmtime.stackmap` section.
    ///
    /// `section` is what `wasmtime-environ` wrote for this code; the module
    /// should match [exactly](Matching::Exact). Functions are declared apart.
    ///
    /// # Errors
    ///
    /// A malformed section, or no memory. Safepoints read before the fault
    /// stay declared.
    #[cfg(feature = "wasmtime-environ")]
    pub fn stack_map_section(&mut self, section: &[u8]) -> Result<(), RegisterError> {
        crate::section::read(section, |offset, map| self.safepoint(offset, map))
    }

    /// Checks everything and builds what lookups use, in a vector of one.
    pub(crate) fn finish(mut self, base: usize) -> Result<Vec<Module>, RegisterError> {
        if self.code_bytes == 0 {
            return Err(RegisterError::EmptyRange);
        }
        let end = base.checked_add(self.code_bytes as usize);
        let end = end.ok_or(RegisterError::AddressOverflow)?;
        self.functions
            .sort_unstable_by_key(|function| function.start);
        if self
            .functions
            .windows(2)
            .any(|pair| pair[0].end > pair[1].start)
        {
            return Err(RegisterError::OverlappingFunctions);
        }
        self.safepoints.sort_unstable_by_key(|(offset, _)| *offset);
        let functions = self.functions;
        let (safepoints, maps) = match self.matching {
            Matching::Exact => exact(&functions, self.safepoints)?,
            Matching::NearestPreceding => nearest(&functions, self.safepoints)?,
        };
        let mut module = Vec::new();
        module
            .try_reserve_exact(1)
            .map_err(|_| RegisterError::OutOfMemory)?;
        module.push(Module {
            addresses: base..end,
            functions,
            safepoints,
            maps,
        });
        Ok(module)
    }
}

/// A checked module, with its maps stored once each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Module {
    addresses: Range<usize>,
    functions: Vec<Range<u32>>,
    safepoints: Safepoints,
    maps: Vec<StackMap>,
}

/// Safepoints: a code offset, and the index of its map.
#[derive(Debug, PartialEq, Eq)]
enum Safepoints {
    Exact(OffsetMap),
    /// In rising order of offset.
    NearestPreceding(Vec<(u32, u32)>),
}

impl Module {
    pub(crate) fn addresses(&self) -> Range<usize> {
        self.addresses.clone()
    }

    /// What the return address at byte `offset` of the code is.
    #[inline]
    pub(crate) fn find(&self, offset: usize) -> Found<'_> {
        let Ok(offset) = u32::try_from(offset) else {
            return Found::Code;
        };
        let index = match &self.safepoints {
            Safepoints::Exact(map) => map.get(offset),
            Safepoints::NearestPreceding(list) => self.find_preceding(list, offset),
        };
        match index {
            Some(index) => Found::Wasm(self.maps.get(index as usize)),
            None if function_at(&self.functions, offset).is_some() => Found::Wasm(None),
            None => Found::Code,
        }
    }

    /// The last safepoint before `offset` that is in the same function.
    fn find_preceding(&self, list: &[(u32, u32)], offset: u32) -> Option<u32> {
        let function = function_at(&self.functions, offset)?;
        let after = list.partition_point(|&(at, _)| at < offset);
        let &(at, index) = list.get(after.checked_sub(1)?)?;
        (function.start <= at).then_some(index)
    }
}

/// The function in which the call before the return address `offset` stands.
///
/// A call may be a function's last instruction, so that its return address is
/// where the next function begins.
fn function_at(functions: &[Range<u32>], offset: u32) -> Option<&Range<u32>> {
    let call = offset.checked_sub(1)?;
    let after = functions.partition_point(|function| function.start <= call);
    let function = functions.get(after.checked_sub(1)?)?;
    function.contains(&call).then_some(function)
}

/// Builds the hash map; safepoints with nothing live need no entry.
fn exact(
    functions: &[Range<u32>],
    safepoints: Vec<(u32, StackMap)>,
) -> Result<(Safepoints, Vec<StackMap>), RegisterError> {
    let distinct = safepoints.chunk_by(|a, b| a.0 == b.0);
    let live = distinct.filter(|same| !same[0].1.is_empty()).count();
    let mut indices = OffsetMap::with_capacity(live).map_err(|_| RegisterError::OutOfMemory)?;
    let mut interner = Interner::default();
    each_safepoint(safepoints, |offset, map| {
        if function_at(functions, offset).is_none() {
            return Err(RegisterError::OutsideFunctions);
        }
        if !map.is_empty() {
            indices.insert(offset, interner.index(map)?);
        }
        Ok(())
    })?;
    Ok((Safepoints::Exact(indices), interner.maps))
}

/// Builds the sorted list; empty maps count here.
fn nearest(
    functions: &[Range<u32>],
    safepoints: Vec<(u32, StackMap)>,
) -> Result<(Safepoints, Vec<StackMap>), RegisterError> {
    let mut list = Vec::new();
    list.try_reserve_exact(safepoints.len())
        .map_err(|_| RegisterError::OutOfMemory)?;
    let mut interner = Interner::default();
    each_safepoint(safepoints, |offset, map| {
        let behind = offset
            .checked_add(1)
            .ok_or(RegisterError::OutsideFunctions)?;
        if function_at(functions, behind).is_none() {
            return Err(RegisterError::OutsideFunctions);
        }
        list.push((offset, interner.index(map)?));
        Ok(())
    })?;
    Ok((Safepoints::NearestPreceding(list), interner.maps))
}

/// Visits sorted safepoints, those that are there twice once.
fn each_safepoint(
    safepoints: Vec<(u32, StackMap)>,
    mut visit: impl FnMut(u32, StackMap) -> Result<(), RegisterError>,
) -> Result<(), RegisterError> {
    let mut safepoints = safepoints.into_iter().peekable();
    while let Some((offset, map)) = safepoints.next() {
        match safepoints.peek() {
            Some((next, other)) if *next == offset => {
                if *other != map {
                    return Err(RegisterError::ConflictingSafepoints);
                }
            }
            _ => visit(offset, map)?,
        }
    }
    Ok(())
}

/// Stores equal maps once.
#[derive(Default)]
struct Interner {
    maps: Vec<StackMap>,
    indices: HashTable<u32>,
}

impl Interner {
    fn index(&mut self, map: StackMap) -> Result<u32, RegisterError> {
        let Self { maps, indices } = self;
        let hash = map.content_hash();
        if let Some(&index) = indices.find(hash, |&index| maps[index as usize] == map) {
            return Ok(index);
        }
        let index = u32::try_from(maps.len()).map_err(|_| RegisterError::OutOfMemory)?;
        let rehash = |&index: &u32| maps[index as usize].content_hash();
        indices
            .try_reserve(1, rehash)
            .map_err(|_| RegisterError::OutOfMemory)?;
        indices.insert_unique(hash, index, rehash);
        push(maps, map)?;
        Ok(index)
    }
}

fn push<T>(list: &mut Vec<T>, element: T) -> Result<(), RegisterError> {
    list.try_reserve(1)
        .map_err(|_| RegisterError::OutOfMemory)?;
    list.push(element);
    Ok(())
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "some modules have one function"
)]
mod tests {
    use super::*;

    fn map(words: &[u32]) -> StackMap {
        StackMap::new(Some(8), words.iter().copied()).unwrap()
    }

    fn build(
        matching: Matching,
        functions: &[Range<u32>],
        safepoints: &[(u32, &[u32])],
    ) -> Result<Module, RegisterError> {
        let mut module = ModuleStackMaps::new(0x100, matching);
        for function in functions {
            module.function(function.clone())?;
        }
        for &(offset, words) in safepoints {
            module.safepoint(offset, map(words))?;
        }
        module.finish(0x1000).map(|mut one| one.remove(0))
    }

    /// `None`: not Wasm. `Some([])`: Wasm with nothing live.
    fn found(module: &Module, offset: usize) -> Option<Vec<u32>> {
        match module.find(offset) {
            Found::Code | Found::Outside => None,
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

    /// The original took the map of the function before (and CVE-2021-39218:
    /// a safepoint without live references took that of an earlier one).
    #[test]
    fn nearest_preceding_stays_in_its_function() {
        let functions = [0..0x40, 0x40..0x80, 0x80..0xc0];
        let safepoints: &[(u32, &[u32])] = &[(0x10, &[1]), (0x20, &[]), (0x90, &[2])];
        let module = build(Matching::NearestPreceding, &functions, safepoints).unwrap();
        assert_eq!(found(&module, 0x05), Some(vec![]), "before the first");
        assert_eq!(found(&module, 0x10), Some(vec![]), "the call begins here");
        assert_eq!(found(&module, 0x15), Some(vec![1]));
        assert_eq!(found(&module, 0x25), Some(vec![]), "an empty map counts");
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
    fn equal_maps_are_stored_once() {
        let safepoints: &[(u32, &[u32])] =
            &[(0x10, &[1]), (0x20, &[1]), (0x30, &[2]), (0x38, &[1])];
        let module = build(Matching::Exact, &[0..0x40], safepoints).unwrap();
        assert_eq!(module.maps.len(), 2);
    }

    #[test]
    fn bad_modules_are_errors() {
        use RegisterError::*;
        for matching in [Matching::Exact, Matching::NearestPreceding] {
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
        let empty = ModuleStackMaps::new(0, Matching::Exact);
        assert_eq!(empty.finish(0x1000).unwrap_err(), EmptyRange);
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
