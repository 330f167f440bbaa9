//! References as tables and globals hold them.

use core::ptr;
use vmexternref_core::VMExternRef;
use vmexternref_engine_abi::ValType;

/// A reference of either kind; one to a host object owns a count.
#[derive(Clone, Debug)]
pub(crate) enum Reference {
    /// A host object, or null.
    Extern(Option<VMExternRef>),
    /// The address of a `VMFuncRef` of the store, or 0.
    Func(usize),
}

impl Reference {
    /// A null reference of that type.
    pub(crate) const fn null(ty: ValType) -> Self {
        match ty {
            ValType::ExternRef => Self::Extern(None),
            _ => Self::Func(0),
        }
    }

    /// The word of a slot; `self` keeps its count.
    pub(crate) fn as_raw(&self) -> usize {
        match self {
            Self::Extern(None) => 0,
            Self::Extern(Some(reference)) => reference.as_raw().expose_provenance(),
            Self::Func(raw) => *raw,
        }
    }

    /// The word of a slot, which takes over the count.
    pub(crate) fn into_raw(self) -> usize {
        match self {
            Self::Extern(None) => 0,
            Self::Extern(Some(reference)) => reference.into_raw().expose_provenance(),
            Self::Func(raw) => raw,
        }
    }

    /// Takes over the count of the word of a slot.
    ///
    /// # Safety
    ///
    /// `raw` is from [`into_raw`](Self::into_raw) of a reference of that type, and is not used
    /// again.
    pub(crate) unsafe fn from_raw(ty: ValType, raw: usize) -> Self {
        if ty != ValType::ExternRef {
            return Self::Func(raw);
        }
        let raw: *mut u8 = ptr::with_exposed_provenance_mut(raw);
        // SAFETY: the word is not null here, and the caller hands over the count it owns.
        Self::Extern((!raw.is_null()).then(|| unsafe { VMExternRef::from_raw(raw) }))
    }

    /// A reference with a count of its own.
    ///
    /// # Safety
    ///
    /// `raw` is a live reference of that type, or 0.
    pub(crate) unsafe fn clone_from_raw(ty: ValType, raw: usize) -> Self {
        if ty != ValType::ExternRef {
            return Self::Func(raw);
        }
        let raw: *mut u8 = ptr::with_exposed_provenance_mut(raw);
        // SAFETY: the word is not null here, and the caller keeps the object alive.
        Self::Extern((!raw.is_null()).then(|| unsafe { VMExternRef::clone_from_raw(raw) }))
    }
}

#[cfg(test)]
mod tests {
    use super::Reference;
    use vmexternref_core::VMExternRef;
    use vmexternref_engine_abi::ValType;

    #[test]
    fn words_carry_their_count() {
        let object = VMExternRef::new(1_u32);
        let raw = Reference::Extern(Some(object.clone())).into_raw();
        assert_eq!(object.strong_count(), 2);
        // SAFETY: the word owns a count of a live object.
        let copy = unsafe { Reference::clone_from_raw(ValType::ExternRef, raw) };
        assert_eq!(copy.as_raw(), raw);
        assert_eq!(object.strong_count(), 3);
        // SAFETY: the word came from `into_raw` and is not used again.
        drop(unsafe { Reference::from_raw(ValType::ExternRef, raw) });
        drop(copy);
        assert_eq!(object.strong_count(), 1);
    }

    #[test]
    fn null_is_zero() {
        assert_eq!(Reference::null(ValType::ExternRef).into_raw(), 0);
        assert_eq!(Reference::null(ValType::FuncRef).as_raw(), 0);
    }
}
