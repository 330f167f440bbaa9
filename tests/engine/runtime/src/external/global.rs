//! Globals as the host holds them.

use crate::error::AccessError;
use crate::item::GlobalItem;
use crate::store::{Store, StoreInner};
use crate::value::{Handle, Val};
use core::fmt;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::GlobalType;

/// A global of a store.
///
/// It names the global, and is valid only together with the store.
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
            let value = value.to_reference(store.inner().identity(), ty.value)?;
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
        Ok(self.0.resolve(store.inner().identity())?)
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
        // SAFETY: the global holds a value of its type, and keeps the object of a reference alive.
        Ok(unsafe { Val::from_bits(store.inner().id(), global.ty().value, global.bits()) })
    }

    /// Replaces its value.
    ///
    /// # Errors
    ///
    /// When the global is immutable, the value has another type, or one of the two belongs to
    /// another store.
    pub fn set(&self, store: &Store, value: &Val) -> Result<(), AccessError> {
        let global = self.item(store)?;
        let ty = global.ty();
        if !ty.mutable {
            return Err(AccessError::Immutable);
        }
        if ty.value.is_ref() {
            global.set_reference(value.to_reference(store.inner().identity(), ty.value)?);
        } else {
            global.set_number(value.to_number(ty.value)?);
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
    use super::Global;
    use crate::error::AccessError;
    use crate::testing::{Alive, object, store};
    use crate::value::Val;
    use vmexternref_engine_abi::{GlobalType, ValType};

    const OBJECT: GlobalType = GlobalType {
        value: ValType::ExternRef,
        mutable: true,
    };

    #[test]
    fn a_reference_is_counted_until_it_is_replaced() {
        let (store, alive) = (store(), Alive::default());
        let global = Global::new(&store, OBJECT, &alive.val()).unwrap();
        assert!(object(&global.value(&store).unwrap()).is_some());
        assert_eq!(alive.count(), 1);
        global.set(&store, &alive.val()).unwrap();
        assert_eq!(alive.count(), 1);
        drop(store);
        assert_eq!(alive.count(), 0);
    }

    /// Defect: a destructor found its own object in the global, and ended it once more.
    #[test]
    fn a_destructor_finds_the_new_value_and_may_replace_it() {
        let (store, alive) = (store(), Alive::default());
        let global = Global::new(&store, OBJECT, &Val::ExternRef(None)).unwrap();
        let (weak, others) = (store.downgrade(), alive.clone());
        let dying = alive.dying_with(move || {
            let store = weak.upgrade().expect("the test has it");
            let new = global.value(&store).unwrap();
            assert_eq!((object(&new).is_some(), others.count()), (true, 1));
            drop(new);
            global.set(&store, &Val::ExternRef(None)).unwrap();
        });
        global.set(&store, &Val::ExternRef(Some(dying))).unwrap();
        global.set(&store, &alive.val()).unwrap();
        assert!(object(&global.value(&store).unwrap()).is_none());
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
