//! A checked module: what a return address in its code is.

use super::functions::Functions;
use super::safepoints::Safepoints;
use crate::stack_map::StackMap;
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::ops::Range;

/// What a return address turned out to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'m> {
    /// In no registered module.
    Outside,
    /// In a module's code, but in none of its Wasm functions: in a trampoline, for instance.
    Code,
    /// In a Wasm function; with the map, if there is one.
    Wasm(Option<&'m StackMap>),
    /// In a Wasm function of a module that matches strictly, but at a call that it did not declare.
    Undeclared,
}

/// Addresses of the code that a return address lies in.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) module: Range<usize>,
    /// Of a Wasm function.
    pub(crate) function: Option<Range<usize>>,
}

/// A checked module, with each distinct map stored once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(super) start: usize,
    /// The code ends within the address space.
    pub(super) code_bytes: NonZeroU32,
    /// Whether matching is strict, so that every call is among the safepoints.
    pub(super) strict: bool,
    pub(super) safepoints: Safepoints,
    pub(super) maps: Vec<StackMap>,
    pub(super) functions: Functions,
}

impl Module {
    /// The first address of the code.
    #[inline]
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// The last address of the code.
    #[inline]
    pub(crate) fn last(&self) -> usize {
        self.start + (self.code_bytes.get() - 1) as usize
    }

    /// What the return address of a call instruction that ends at address `call` is.
    #[inline]
    pub(crate) fn find(&self, call: usize) -> Found<'_> {
        let Some(offset) = self.offset(call) else {
            return Found::Outside;
        };
        match self.safepoints.find(offset, &self.functions) {
            Some(map) => Found::Wasm(self.maps.get(map as usize)),
            None if !self.functions.calls(offset) => Found::Code,
            None if self.strict => Found::Undeclared,
            None => Found::Wasm(None),
        }
    }

    /// Where the return address of a call instruction that ends at address `call` is.
    pub(crate) fn place(&self, call: usize) -> Option<Place> {
        let offset = self.offset(call)?;
        let function = self.functions.containing(offset);
        let address = |offset: u32| self.start + offset as usize;
        Some(Place {
            module: self.start..address(self.code_bytes.get()),
            function: function.map(|(start, end)| address(start)..address(end)),
        })
    }

    /// The offset of the return address behind address `call`, if that is in the module's code.
    #[inline]
    fn offset(&self, call: usize) -> Option<u32> {
        let distance = u32::try_from(call.wrapping_sub(self.start)).ok()?;
        let offset = distance.checked_add(1)?;
        (offset <= self.code_bytes.get()).then_some(offset)
    }
}
