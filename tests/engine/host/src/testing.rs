//! Fixtures of the unit tests: a store, and a platform that records lines.

use crate::platform::Platform;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use vmexternref_core::StackMapRegistry;
use vmexternref_engine_code_memory::CodeMemory;
use vmexternref_engine_runtime::{CallError, Limits, Linker, Store, Val};

/// Records lines, and catches panics.
#[derive(Debug, Default)]
pub(crate) struct Recorder(RefCell<Vec<String>>);

impl Recorder {
    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}

impl Platform for Recorder {
    fn print(&self, line: fmt::Arguments<'_>) {
        self.0.borrow_mut().push(line.to_string());
    }

    fn catch(&self, body: &mut dyn FnMut()) -> Result<(), String> {
        panic::catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
            let message = payload.downcast_ref::<&str>();
            message.map_or_else(String::new, ToString::to_string)
        })
    }
}

/// A store without code.
pub(crate) fn store() -> Store {
    let registry = Arc::new(StackMapRegistry::new());
    let store = Store::new(registry, Limits::default(), Rc::new(CodeMemory::default()));
    store.expect("there is memory")
}

/// Calls a function of the module `host`.
pub(crate) fn call(
    store: &Store,
    linker: &Linker,
    name: &str,
    args: &[Val],
) -> Result<Vec<Val>, CallError> {
    let func = linker.lookup("host", name).unwrap().into_func().unwrap();
    func.call(store, args)
}

/// The numbers in `values`.
pub(crate) fn numbers(values: &[Val]) -> Vec<i64> {
    let number = |value: &Val| match value {
        Val::I32(value) => i64::from(*value),
        Val::I64(value) => *value,
        other => panic!("{other:?} is not an integer"),
    };
    values.iter().map(number).collect()
}
