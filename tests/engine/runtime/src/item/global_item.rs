//! Globals.

use crate::value::Reference;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use vmexternref_engine_abi::{GlobalType, VMGlobal, ValType};

/// A global as the store owns it.
///
/// Compiled code knows the address of its first field. A global of type externref owns one count.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct GlobalItem {
    vm: VMGlobal,
    ty: GlobalType,
}

const _: () = assert!(offset_of!(GlobalItem, vm) == 0);

impl GlobalItem {
    /// A global that holds `bits`. It takes over the count of a reference.
    pub(crate) const fn new(ty: GlobalType, bits: u64) -> Self {
        Self {
            vm: VMGlobal {
                value: UnsafeCell::new(bits),
            },
            ty,
        }
    }

    /// Its type.
    pub(crate) const fn ty(&self) -> GlobalType {
        self.ty
    }

    /// The bits of the value; a reference is borrowed.
    pub(crate) fn bits(&self) -> u64 {
        // SAFETY: nothing but this thread writes to the cell, and not now.
        unsafe { self.vm.value.get().read() }
    }

    /// The word of a reference, borrowed.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a reference occupies one word of the value"
    )]
    pub(crate) fn word(&self) -> usize {
        self.bits() as usize
    }

    fn set_bits(&self, bits: u64) {
        // SAFETY: nothing but this thread reads or writes the cell, and not now.
        unsafe { self.vm.value.get().write(bits) }
    }

    /// Replaces a number.
    pub(crate) fn set_number(&self, bits: u64) {
        debug_assert!(
            !self.ty.value.is_ref(),
            "a reference has a count to give up"
        );
        self.set_bits(bits);
    }

    /// Replaces a reference, and then drops the old one.
    pub(crate) fn set_reference(&self, value: Reference) {
        let old = self.word();
        self.set_bits(value.into_raw() as u64);
        // SAFETY: the global owned the old word until it was overwritten.
        drop(unsafe { Reference::from_raw(self.ty.value, old) });
    }
}

impl Drop for GlobalItem {
    fn drop(&mut self) {
        if self.ty.value == ValType::ExternRef {
            self.set_reference(Reference::null(ValType::ExternRef));
        }
    }
}
