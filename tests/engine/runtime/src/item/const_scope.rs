//! Evaluation of constant expressions.

use core::ptr;
use vmexternref_engine_abi::{ConstExpr, VMFuncRef, VMGlobal};

/// The items that constant expressions may refer to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConstScope<'a> {
    /// All functions of the instance.
    pub(crate) functions: &'a [VMFuncRef],
    /// The globals of the instance, at least the imported ones.
    pub(crate) globals: &'a [*const VMGlobal],
}

impl ConstScope<'_> {
    /// The bits of the value; a reference is borrowed.
    ///
    /// # Panics
    ///
    /// When an index is out of range; [`Module::load`](crate::Module::load) checked them all.
    ///
    /// # Safety
    ///
    /// The globals are alive.
    pub(crate) unsafe fn evaluate(&self, expr: ConstExpr) -> u64 {
        match expr {
            ConstExpr::I32Const(value) => u64::from(value.cast_unsigned()),
            ConstExpr::I64Const(value) => value.cast_unsigned(),
            ConstExpr::F32Const(bits) => u64::from(bits),
            ConstExpr::F64Const(bits) => bits,
            ConstExpr::RefNull(_) => 0,
            ConstExpr::RefFunc(index) => {
                let func = ptr::from_ref(&self.functions[index as usize]);
                func.expose_provenance() as u64
            }
            ConstExpr::GlobalGet(index) => {
                // SAFETY: the caller keeps the global alive, and no other thread writes to it.
                unsafe { (*self.globals[index as usize]).value.get().read() }
            }
        }
    }

    /// The bits of the offset of a segment.
    ///
    /// # Safety
    ///
    /// As for [`evaluate`](Self::evaluate).
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an offset is an i32, zero-extended"
    )]
    pub(crate) unsafe fn offset(&self, expr: ConstExpr) -> u32 {
        // SAFETY: the caller keeps the globals alive.
        unsafe { self.evaluate(expr) as u32 }
    }

    /// The word of a reference.
    ///
    /// # Safety
    ///
    /// As for [`evaluate`](Self::evaluate).
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a reference occupies one word of the value"
    )]
    pub(crate) unsafe fn word(&self, expr: ConstExpr) -> usize {
        // SAFETY: the caller keeps the globals alive.
        unsafe { self.evaluate(expr) as usize }
    }
}
