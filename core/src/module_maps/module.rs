//! A checked module: what a return address in its code is.

use super::functions::Functions;
use super::safepoints::Safepoints;
use crate::stack_map::StackMap;
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// What a return address turned out to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'m> {
    /// In no registered module.
    Outside,
    /// In a module's code, but in none of its Wasm functions: in a trampoline, for instance.
    Code,
    /// In a Wasm function; with the map, if there is one.
    Wasm(Option<&'m StackMap>),
}

/// A checked module, with each distinct map stored once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(super) start: usize,
    /// The code ends within the address space.
    pub(super) code_bytes: NonZeroU32,
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
        let distance = call.wrapping_sub(self.start);
        let Some(offset) = u32::try_from(distance)
            .ok()
            .and_then(|at| at.checked_add(1))
        else {
            return Found::Outside;
        };
        if offset > self.code_bytes.get() {
            return Found::Outside;
        }
        match self.safepoints.find(offset, &self.functions) {
            Some(map) => Found::Wasm(self.maps.get(map as usize)),
            None if self.functions.calling(offset).is_some() => Found::Wasm(None),
            None => Found::Code,
        }
    }
}
