//! Compiled modules that are made up, and a naive answer to what a return address is.

use arbitrary::{Result, Unstructured};
use core::ops::Range;
use vmexternref_core::{Matching, ModuleStackMaps, Registration, StackMap};

/// Bytes of code that a module has at most.
pub(crate) const LARGEST: u32 = 0x400;

/// Where the code of the first module may begin; each has room for [`LARGEST`] bytes.
const TEXT: usize = 0x1_0000;

const FUNCTION: u32 = 0x40;

/// A safepoint as its compiler declares it.
#[derive(Clone, Debug)]
pub(crate) struct Safepoint {
    offset: u32,
    pub(crate) frame_words: Option<u32>,
    pub(crate) live: Vec<u32>,
}

/// What a return address is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Code<'m> {
    Outside,
    /// Code that is no function of Wasm.
    Other,
    /// A call in a function of Wasm, with its safepoint if it has one.
    Wasm(Option<&'m Safepoint>),
    /// A call in a function of Wasm that should have been declared, but was not.
    Undeclared,
}

/// A module, and how often it is registered.
#[derive(Debug)]
pub(crate) struct Module {
    base: usize,
    code_bytes: u32,
    matching: Matching,
    functions: Vec<Range<u32>>,
    safepoints: Vec<Safepoint>,
    /// Offsets that calls return to, with nothing live unless a safepoint says so.
    return_addresses: Vec<u32>,
    pub(crate) registrations: Vec<Registration>,
}

impl Module {
    /// A module at the `place`th of the places for code.
    pub(crate) fn arbitrary(place: usize, u: &mut Unstructured<'_>) -> Result<Self> {
        let matchings = [
            Matching::Strict,
            Matching::Exact,
            Matching::NearestPreceding,
        ];
        let matching = *u.choose(&matchings)?;
        let mut module = Self {
            base: TEXT + place * LARGEST as usize,
            code_bytes: 0,
            matching,
            functions: Vec::new(),
            safepoints: Vec::new(),
            return_addresses: Vec::new(),
            registrations: Vec::new(),
        };
        for _ in 0..u.int_in_range(1..=3)? {
            let start = module.code_bytes;
            let end = start + FUNCTION - u.int_in_range(0..=1)?;
            module.functions.push(start..end);
            module.add_safepoints(start, u)?;
            // What is behind some functions is no function.
            module.code_bytes = end + 8 * u.int_in_range(0..=1)?;
        }
        Ok(module)
    }

    fn add_safepoints(&mut self, start: u32, u: &mut Unstructured<'_>) -> Result<()> {
        for index in 0..u.int_in_range(0..=3)? {
            let mut live = Vec::new();
            let reach = *u.choose(&[4, 4, 4, 64, 130])?;
            for _ in 0..u.int_in_range(0..=4)? {
                live.push(u.int_in_range(0..=reach - 1)?);
            }
            live.sort_unstable();
            live.dedup();
            let words = live.last().map_or(0, |last| last + 1);
            let frame_words = if u.arbitrary()? {
                Some(words + u.int_in_range(0..=2)?)
            } else {
                None
            };
            self.safepoints.push(Safepoint {
                offset: start + 1 + 8 * index,
                frame_words,
                live,
            });
        }
        if self.matching != Matching::NearestPreceding {
            for _ in 0..u.int_in_range(0..=2)? {
                let offset = start + u.int_in_range(1..=FUNCTION - 1)?;
                self.return_addresses.push(offset);
            }
        }
        Ok(())
    }

    /// What the module's compiler declares.
    pub(crate) fn declare(&self) -> ModuleStackMaps {
        let valid = "the module is a valid one";
        let mut declared = ModuleStackMaps::new(self.code_bytes, self.matching);
        for function in &self.functions {
            declared.function(function.clone()).expect(valid);
        }
        for safepoint in &self.safepoints {
            let live = safepoint.live.iter().copied();
            let map = StackMap::new(safepoint.frame_words, live).expect(valid);
            declared.safepoint(safepoint.offset, map).expect(valid);
        }
        for &offset in &self.return_addresses {
            declared.return_address(offset).expect(valid);
        }
        declared
    }

    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// A return address in the module, often one with a safepoint.
    pub(crate) fn arbitrary_pc(&self, u: &mut Unstructured<'_>) -> Result<usize> {
        let offset = if self.safepoints.is_empty() || u.ratio(1, 8)? {
            u.int_in_range(1..=self.code_bytes)?
        } else {
            let after = match self.matching {
                Matching::Strict | Matching::Exact => 0,
                Matching::NearestPreceding => u.int_in_range(1..=5)?,
            };
            u.choose(&self.safepoints)?.offset + after
        };
        Ok(self.base + offset as usize)
    }

    /// What the return address is, registered or not.
    pub(crate) fn at(&self, pc: usize) -> Code<'_> {
        let Some(offset) = pc.checked_sub(self.base) else {
            return Code::Outside;
        };
        let offset = match u32::try_from(offset) {
            Ok(offset) if 1 <= offset && offset <= self.code_bytes => offset,
            _ => return Code::Outside,
        };
        let call = offset - 1;
        let strict = self.matching == Matching::Strict;
        let Some(function) = self.functions.iter().find(|f| f.contains(&call)) else {
            return Code::Other;
        };
        let mut of_function = self
            .safepoints
            .iter()
            .filter(|safepoint| function.contains(&safepoint.offset));
        let safepoint = match self.matching {
            Matching::Strict | Matching::Exact => {
                self.safepoints.iter().find(|s| s.offset == offset)
            }
            Matching::NearestPreceding => of_function.rfind(|s| s.offset < offset),
        };
        if strict && safepoint.is_none() && !self.return_addresses.contains(&offset) {
            return Code::Undeclared;
        }
        Code::Wasm(safepoint)
    }
}
