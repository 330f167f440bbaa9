//! Globals.

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::offset_of;

use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{GlobalType, VMGlobal, ValType};

use crate::error::AccessError;
use crate::handle::Handle;
use crate::reference::Reference;
use crate::store::{Store, StoreInner};
use crate::val::Val;

/// A global as the store owns it; compiled code knows the address of its first field.
///
/// A global of type externref owns one count.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct GlobalItem {
    vm: VMGlobal,
    ty: GlobalType,
}

const _: () = assert!(offset_of!(GlobalItem, vm) == 0);

impl GlobalItem {
    /// A global that holds `bits`; a reference comes with its count.
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

    /// The bits of the value; a reference stays the global's.
    pub(crate) fn bits(&self) -> u64 {
        // SAFETY: nothing but this thread writes to the cell, and not now.
        unsafe { self.vm.value.get().read() }
    }

    /// The word of a reference, which stays the global's.
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

/// A global of a store: a name that is only good together with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Global(pub(crate) Handle<GlobalItem>);

impl Global {
    /// A global that holds `value`.
    ///
    /// # Errors
    ///
    /// A value of another type or store, or no memory.
    pub fn new(store: &Store, ty: GlobalType, value: &Val) -> Result<Self, AccessError> {
        let global = if ty.value.is_ref() {
            let value = value.to_reference(store.inner(), ty.value)?;
            let global = Self::keep(store.inner(), GlobalItem::new(ty, 0))?;
            global.item(store)?.set_reference(value);
            global
        } else {
            let bits = value.to_number(ty.value)?;
            Self::keep(store.inner(), GlobalItem::new(ty, bits))?
        };
        Ok(global)
    }

    pub(crate) fn keep(store: &StoreInner, global: GlobalItem) -> Result<Self, OutOfMemory> {
        let item = store.globals.add(global)?;
        // SAFETY: the store's arena keeps the item in place.
        Ok(Self(unsafe { Handle::new(store.id(), item) }))
    }

    fn item<'s>(&self, store: &'s Store) -> Result<&'s GlobalItem, AccessError> {
        Ok(self.0.resolve(store.inner())?)
    }

    /// Its type.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: &Store) -> Result<GlobalType, AccessError> {
        Ok(self.item(store)?.ty())
    }

    /// Its value.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn value(&self, store: &Store) -> Result<Val, AccessError> {
        let global = self.item(store)?;
        // SAFETY: the global holds a value of its type, and what it refers to is alive as long as the global holds it.
        Ok(unsafe { Val::from_bits(store.inner(), global.ty.value, global.bits()) })
    }

    /// Replaces its value.
    ///
    /// # Errors
    ///
    /// When it is immutable, or the value or the global does not fit.
    pub fn set(&self, store: &Store, value: &Val) -> Result<(), AccessError> {
        let global = self.item(store)?;
        if !global.ty.mutable {
            return Err(AccessError::Immutable);
        }
        if global.ty.value.is_ref() {
            global.set_reference(value.to_reference(store.inner(), global.ty.value)?);
        } else {
            global.set_number(value.to_number(global.ty.value)?);
        }
        Ok(())
    }
}

impl fmt::Debug for Global {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Global({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use vmexternref_engine_abi::{GlobalType, ValType};

    use super::Global;
    use crate::error::AccessError;
    use crate::testing::{Alive, object, store};
    use crate::val::Val;

    #[test]
    fn a_reference_is_counted_until_it_is_replaced() {
        let (store, alive) = (store(), Alive::default());
        let ty = GlobalType {
            value: ValType::ExternRef,
            mutable: true,
        };
        let global = Global::new(&store, ty, &alive.val()).unwrap();
        assert!(object(&global.value(&store).unwrap()).is_some());
        assert_eq!(alive.count(), 1);
        global.set(&store, &alive.val()).unwrap();
        assert_eq!(alive.count(), 1);
        drop(store);
        assert_eq!(alive.count(), 0);
    }

    #[test]
    fn mutability_and_type_are_checked() {
        let store = store();
        let ty = GlobalType {
            value: ValType::I32,
            mutable: false,
        };
        let global = Global::new(&store, ty, &Val::I32(-1)).unwrap();
        assert!(matches!(global.value(&store), Ok(Val::I32(-1))));
        assert_eq!(
            global.set(&store, &Val::I32(1)),
            Err(AccessError::Immutable)
        );
        let wrong = Global::new(&store, ty, &Val::I64(1));
        assert!(matches!(wrong, Err(AccessError::WrongType { .. })));
    }
}
