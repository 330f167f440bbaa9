//! Values in the form that hosts print.

use crate::object::HostObject;
use core::fmt;
use vmexternref_core::VMExternRef;
use vmexternref_engine_runtime::Val;

/// Prints a value as a person would write it.
#[derive(Debug)]
pub struct Shown<'a>(pub &'a Val);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Val::I32(value) => write!(f, "{value}"),
            Val::I64(value) => write!(f, "{value}"),
            Val::F32(bits) => write!(f, "{:?}", f32::from_bits(*bits)),
            Val::F64(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Val::ExternRef(reference) => write!(f, "{}", ShownRef(reference.as_ref())),
            Val::FuncRef(None) => f.write_str("null"),
            Val::FuncRef(Some(_)) => f.write_str("funcref"),
        }
    }
}

/// Prints a description of a reference's object.
#[derive(Debug)]
pub struct ShownRef<'a>(pub Option<&'a VMExternRef>);

impl fmt::Display for ShownRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(reference) = self.0 else {
            return f.write_str("null");
        };
        match reference.downcast_ref::<HostObject>() {
            Some(object) => write!(f, "externref({})", object.kind()),
            None => f.write_str("externref"),
        }
    }
}
