//! Values as the host holds them.

use crate::error::AccessError;
use crate::value::func::Func;
use crate::value::handle::{Handle, StoreId, StoreIdentity};
use crate::value::reference::Reference;
use core::ptr::{self, NonNull};
use vmexternref_core::VMExternRef;
use vmexternref_engine_abi::{VMFuncRef, ValType};

/// A Wasm value.
#[derive(Clone, Debug)]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
    /// A host object, or null.
    ExternRef(Option<VMExternRef>),
    /// A function, or null.
    FuncRef(Option<Func>),
}

impl Val {
    /// Its type.
    #[must_use]
    pub const fn ty(&self) -> ValType {
        match self {
            Self::I32(_) => ValType::I32,
            Self::I64(_) => ValType::I64,
            Self::F32(_) => ValType::F32,
            Self::F64(_) => ValType::F64,
            Self::ExternRef(_) => ValType::ExternRef,
            Self::FuncRef(_) => ValType::FuncRef,
        }
    }

    /// Zero, or null.
    #[must_use]
    pub const fn default_for(ty: ValType) -> Self {
        match ty {
            ValType::I32 => Self::I32(0),
            ValType::I64 => Self::I64(0),
            ValType::F32 => Self::F32(0),
            ValType::F64 => Self::F64(0),
            ValType::ExternRef => Self::ExternRef(None),
            ValType::FuncRef => Self::FuncRef(None),
        }
    }

    /// Whether it refers to a host object.
    pub(crate) const fn is_object(&self) -> bool {
        matches!(self, Self::ExternRef(Some(_)))
    }

    /// The bits of the value as trampolines pass it; a reference is borrowed.
    pub(crate) fn to_bits(&self) -> u64 {
        match self {
            Self::I32(value) => u64::from(value.cast_unsigned()),
            Self::I64(value) => value.cast_unsigned(),
            Self::F32(bits) => u64::from(*bits),
            Self::F64(bits) => *bits,
            Self::ExternRef(None) | Self::FuncRef(None) => 0,
            Self::ExternRef(Some(reference)) => reference.as_raw().expose_provenance() as u64,
            Self::FuncRef(Some(func)) => func.to_word() as u64,
        }
    }

    /// The value of these bits; a reference gets its own count.
    ///
    /// # Safety
    ///
    /// The bits are a value of that type. A reference is alive, or a function of `store`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "narrow values are zero-extended to 64 bits"
    )]
    pub(crate) unsafe fn from_bits(store: StoreId, ty: ValType, bits: u64) -> Self {
        match ty {
            ValType::I32 => Self::I32((bits as u32).cast_signed()),
            ValType::I64 => Self::I64(bits.cast_signed()),
            ValType::F32 => Self::F32(bits as u32),
            ValType::F64 => Self::F64(bits),
            ValType::ExternRef | ValType::FuncRef => {
                // SAFETY: the caller gives a live reference of that type.
                let reference = unsafe { Reference::clone_from_raw(ty, bits as usize) };
                Self::from_reference(store, reference)
            }
        }
    }

    /// The value of a reference of `store`.
    pub(crate) fn from_reference(store: StoreId, reference: Reference) -> Self {
        match reference {
            Reference::Extern(reference) => Self::ExternRef(reference),
            Reference::Func(word) => {
                let func = NonNull::new(ptr::with_exposed_provenance_mut::<VMFuncRef>(word));
                // SAFETY: function references in tables and globals point to functions of this
                // store.
                Self::FuncRef(func.map(|func| Func(unsafe { Handle::new(store, func) })))
            }
        }
    }

    /// The value as a reference of type `ty`.
    pub(crate) fn to_reference(
        &self,
        store: &StoreIdentity,
        ty: ValType,
    ) -> Result<Reference, AccessError> {
        match (ty, self) {
            (ValType::ExternRef, Self::ExternRef(reference)) => {
                Ok(Reference::Extern(reference.clone()))
            }
            (ValType::FuncRef, Self::FuncRef(None)) => Ok(Reference::Func(0)),
            (ValType::FuncRef, Self::FuncRef(Some(func))) => {
                func.0.resolve(store)?;
                Ok(Reference::Func(func.to_word()))
            }
            _ => Err(AccessError::WrongType {
                expected: ty,
                found: self.ty(),
            }),
        }
    }

    /// The value as the bits of a number of type `ty`.
    pub(crate) fn to_number(&self, ty: ValType) -> Result<u64, AccessError> {
        if self.ty() == ty && !ty.is_ref() {
            Ok(self.to_bits())
        } else {
            Err(AccessError::WrongType {
                expected: ty,
                found: self.ty(),
            })
        }
    }

    /// Whether the value may be used in `store`.
    pub(crate) fn belongs_to(&self, store: &StoreIdentity) -> bool {
        match self {
            Self::FuncRef(Some(func)) => func.0.resolve(store).is_ok(),
            _ => true,
        }
    }
}
