//! Tests of the core alone, with arrays for stacks.

use crate::report::{Outcome, Report, equal, words};
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec;
use core::cell::Cell;
use vmexternref_core::{
    Frame, GcOutcome, Matching, ModuleStackMaps, RecordedWalker, RegisterError, StackMap,
    StackMapRegistry, VMExternRef, VMExternRefActivationsTable, WalkEnd, gc,
};

/// Tests boxes, the registry and collections.
pub(crate) fn test(report: &mut Report<'_>) {
    report.test("boxes", boxes);
    report.test("registry", registry);
    report.test("collections of an array", collections);
}

/// Counts its drops.
struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A value with a larger alignment than the allocator's default.
#[repr(align(256))]
struct Aligned([u8; 3]);

fn boxes() -> Outcome {
    let drops = Rc::new(Cell::new(0));
    let one = VMExternRef::new(Counted(Rc::clone(&drops)));
    let raw = one.clone().into_raw();
    equal("the count", one.strong_count(), 2)?;
    // SAFETY: the word comes from `into_raw`, and is converted back once.
    let other = unsafe { VMExternRef::from_raw(raw) };
    equal("identity", VMExternRef::eq(&one, &other), true)?;
    drop((one, other));
    equal("the number of drops", drops.get(), 1)?;
    let aligned = VMExternRef::new(Aligned([1, 2, 3]));
    let value = aligned.downcast_ref::<Aligned>();
    let value = value.ok_or("the box forgot its type")?;
    equal("the value", value.0, [1, 2, 3])?;
    equal(
        "the misalignment",
        core::ptr::from_ref(value).addr() % 256,
        0,
    )?;
    Ok("counted, aligned, dropped once".into())
}

/// A module with one function and one safepoint, where word 1 is live.
fn module() -> Result<ModuleStackMaps, RegisterError> {
    let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
    module.function(0..0x80)?;
    module.safepoint(0x10, StackMap::new(None, [1])?)?;
    Ok(module)
}

fn registry() -> Outcome {
    let registry = StackMapRegistry::new();
    let registered = |base| {
        registry
            .register(base, module().map_err(words)?)
            .map_err(words)
    };
    let first = registered(0x1000)?;
    equal("code", registry.is_code(0x10ff), true)?;
    equal("a function", registry.is_wasm(0x10ff), false)?;
    equal("an overlap's acceptance", registered(0x1080).is_ok(), false)?;
    // SAFETY: the module has no code that could run.
    unsafe { registry.unregister(first) }.map_err(|_| "the registry forgot a module")?;
    equal("unregistered code", registry.is_code(0x1010), false)?;
    registered(0x1080)?;
    Ok("registered, refused, unregistered".into())
}

fn collections() -> Outcome {
    let registry = StackMapRegistry::new();
    registry
        .register(0x1000, module().map_err(words)?)
        .map_err(words)?;
    let table = VMExternRefActivationsTable::with_capacity(8, 64);
    let drops = Rc::new(Cell::new(0));
    let held = VMExternRef::new(Counted(Rc::clone(&drops)));
    let stack: Box<[usize]> = Box::new([0, held.as_raw().addr(), 0]);
    table.insert_without_gc(held);
    for _ in 0..20 {
        table.insert_without_gc(VMExternRef::new(Counted(Rc::clone(&drops))));
    }
    let frame = Frame::of_compiled_code(0x1010, Some(stack.as_ptr().expose_provenance()), None);
    let collect = |frames, end| {
        // SAFETY: the only frame is the boxed array, which the module's only stack map describes.
        unsafe { gc(&registry, &table, &RecordedWalker::new(frames, end)) }
    };
    let report = collect(vec![frame], WalkEnd::Unproven);
    equal(
        "an unproven walk's outcome",
        report.outcome,
        GcOutcome::KeptUnproven,
    )?;
    let report = collect(vec![frame], WalkEnd::Complete);
    equal("the roots", report.roots, 1)?;
    equal("the number of drops", drops.get(), 20)?;
    let report = collect(vec![], WalkEnd::Complete);
    equal("the number of freed objects", report.freed, 1)?;
    equal("the number of drops", drops.get(), 21)?;
    Ok(format!("{} of 21 objects were dropped", drops.get()))
}
