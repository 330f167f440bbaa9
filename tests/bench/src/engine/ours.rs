//! Our engine, with host functions in their raw form.

use super::raw_host::linker;
use super::{Engine, Failure, Host, STACK_BYTES};
use crate::stopwatch::{Effort, Stopwatch};
use core::cell::{Cell, RefCell};
use core::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use vmexternref_core::{OutOfMemory, StackMapRegistry, StackWalker, VMExternRef};
use vmexternref_engine_code_memory::{CodeMemory, Placement};
use vmexternref_engine_compiler::{CompileOptions, compile};
use vmexternref_engine_runtime::{Func, Instance, Limits, Module, Store, Val};

/// The action of the import `bench.walk`: times walks, and returns the number of frames of one.
pub(crate) type Walk = fn(&Scene<'_>, &mut Stopwatch) -> usize;

/// The store and the code that a walk may look at.
#[derive(Debug)]
pub(crate) struct Scene<'s> {
    pub(crate) store: &'s Store,
    /// Where the newest machine code is.
    pub(crate) code: Option<Placement>,
}

/// The context of host functions.
pub(super) struct Context {
    pub(super) host: RefCell<Host>,
    pub(super) code: Rc<CodeMemory>,
    pub(super) walk: Cell<Option<Walk>>,
    pub(super) frames: Cell<usize>,
}

pub(super) type Shared = Rc<Context>;

/// The limits of a store.
const LIMITS: Limits = Limits {
    stack_bytes: STACK_BYTES,
    interpreter_stack_bytes: STACK_BYTES,
    ..Limits::DEFAULT
};

/// An instance in our engine.
pub(crate) struct Ours {
    store: Store,
    instance: Instance,
    context: Shared,
}

impl Ours {
    /// Compiles and instantiates `text` in a store of its own.
    pub(crate) fn new(text: &str, effort: Effort) -> Result<Self, Failure> {
        Self::with_slots(text, effort, LIMITS.table_slots_initial)
    }

    /// The same, with an activations table that starts with `slots` slots.
    pub(crate) fn with_slots(text: &str, effort: Effort, slots: usize) -> Result<Self, Failure> {
        let limits = Limits {
            table_slots_initial: slots,
            ..LIMITS
        };
        Self::build(
            text,
            &CompileOptions::default(),
            effort,
            |registry, code| Store::new(registry, limits, code),
        )
    }

    /// The same as bytecode, in a store that interprets it.
    pub(crate) fn interpreted(text: &str, effort: Effort) -> Result<Self, Failure> {
        Self::build(
            text,
            &CompileOptions::for_bytecode(),
            effort,
            |registry, _| Store::interpreted(registry, LIMITS),
        )
    }

    fn build(
        text: &str,
        options: &CompileOptions,
        effort: Effort,
        store: impl FnOnce(Arc<StackMapRegistry>, Rc<CodeMemory>) -> Result<Store, OutOfMemory>,
    ) -> Result<Self, Failure> {
        let compiled = compile(&wat::parse_str(text)?, options)?;
        let context = Rc::new(Context {
            host: RefCell::new(Host::new(effort)),
            code: Rc::new(CodeMemory::default()),
            walk: Cell::new(None),
            frames: Cell::new(0),
        });
        let registry = Arc::new(StackMapRegistry::new());
        let store = store(registry, Rc::clone(&context.code)).map_err(no_memory)?;
        let module = Module::load(&store, compiled)?;
        let instance = linker(&store, &context)?.instantiate(&store, &module)?;
        Ok(Self {
            store,
            instance,
            context,
        })
    }

    /// Finds stack frames with `walker` from now on.
    pub(crate) fn set_walker(&self, walker: Rc<dyn StackWalker>) {
        self.store.set_walker(walker);
    }

    /// Chooses the action of `bench.walk`.
    pub(crate) fn set_walk(&mut self, walk: Walk) {
        self.context.walk.set(Some(walk));
    }

    /// The number of frames of the last walk.
    pub(crate) fn walked_frames(&self) -> usize {
        self.context.frames.get()
    }

    /// Calls the export `empty` of type `[] -> []` so many times.
    pub(crate) fn empty_calls(&self, times: u32) -> Result<(), Failure> {
        let func = self.func("empty")?;
        (0..times).try_for_each(|_| call_empty(&self.store, &func))
    }

    /// Calls the export `same` of type `[externref] -> [externref]` so many times.
    pub(crate) fn reference_calls(&self, times: u32) -> Result<(), Failure> {
        let (func, reference) = (self.func("same")?, VMExternRef::new(7_u64));
        (0..times).try_for_each(|_| call_same(&self.store, &func, &reference))
    }

    fn func(&self, export: &str) -> Result<Func, Failure> {
        let func = self.instance.export(export);
        let func = func.and_then(|item| item.into_func());
        Ok(func.ok_or_else(|| format!("no function {export}"))?)
    }

    /// Times `call`, which calls the function `export`.
    fn time_calls(
        &self,
        export: &str,
        call: impl Fn(&Store, &Func) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let func = self.func(export)?;
        loop {
            let iterations = self.context.host.borrow_mut().stopwatch.next();
            if iterations == 0 {
                return Ok(());
            }
            for _ in 0..iterations {
                call(&self.store, &func)?;
            }
        }
    }
}

/// Calls `func`, which takes and returns nothing.
#[inline]
fn call_empty(store: &Store, func: &Func) -> Result<(), Failure> {
    // SAFETY: the function takes and returns nothing.
    Ok(unsafe { func.call_raw(store, core::ptr::null_mut()) }?)
}

/// Calls `func`, which returns its argument, with `reference`.
// A part of the loop that is timed, and of the one that is counted.
#[inline(always)]
fn call_same(store: &Store, func: &Func, reference: &VMExternRef) -> Result<(), Failure> {
    store.reserve(1).map_err(no_memory)?;
    let mut slot = store.insert(reference.clone()).map_err(no_memory)?;
    // SAFETY: the slot holds a reference that is in the table, and there is room for the one
    // result.
    unsafe { func.call_raw(store, &raw mut slot) }?;
    // SAFETY: the function returns its argument, and there was no collection since.
    let result = unsafe { borrowed_from(slot) };
    drop(VMExternRef::clone(&result));
    Ok(())
}

impl Engine for Ours {
    fn run(&mut self, export: &str, x: i32) -> Result<i32, Failure> {
        let results = self.func(export)?.call(&self.store, &[Val::I32(x)])?;
        match results[..] {
            [Val::I32(result)] => Ok(result),
            _ => Err(format!("{export} returned {results:?}").into()),
        }
    }

    fn time_empty_calls(&mut self) -> Result<(), Failure> {
        self.time_calls("empty", call_empty)
    }

    fn time_reference_calls(&mut self) -> Result<(), Failure> {
        let reference = VMExternRef::new(7_u64);
        self.time_calls("same", |store, func| call_same(store, func, &reference))
    }

    fn figure(&mut self) -> Option<f64> {
        self.context.host.borrow_mut().stopwatch.figure()
    }
}

pub(super) fn no_memory(_: OutOfMemory) -> Failure {
    "out of memory".into()
}

/// Borrows the reference in a slot.
///
/// # Safety
///
/// The slot holds a live reference, not null, and there is no collection while it is borrowed.
#[inline]
pub(super) unsafe fn borrowed_from(slot: u64) -> ManuallyDrop<VMExternRef> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "slots hold the host's words"
    )]
    let raw = core::ptr::with_exposed_provenance_mut(slot as usize);
    // SAFETY: the caller guarantees a live reference, and `ManuallyDrop` leaves its count to its
    // owner.
    ManuallyDrop::new(unsafe { VMExternRef::from_raw(raw) })
}
