//! Code that is loaded and unloaded while a table lives on.
//!
//! Run it with `cargo run -p vmexternref --example load_unload`.

use std::error::Error;
use vmexternref::{
    Frame, GcOutcome, GcReport, Matching, ModuleStackMaps, RecordedWalker, RegisterError, StackMap,
    StackMapRegistry, VMExternRef, VMExternRefActivationsTable, WalkEnd, gc,
};

/// What a compiler says of its code: one function, one call, one live word.
fn module() -> Result<ModuleStackMaps, Box<dyn Error>> {
    let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
    module.function(0x00..0x100)?;
    module.safepoint(0x24, StackMap::new(Some(1), [0])?)?;
    Ok(module)
}

/// Collects while a guest is in the call of the module at `code`, with `held` in its frame.
fn collect_below(
    code: usize,
    held: &VMExternRef,
    registry: &StackMapRegistry,
    table: &VMExternRefActivationsTable,
) -> GcReport {
    let stack = [held.as_raw().expose_provenance(), 0];
    let [sp, fp] = [&stack[0], &stack[1]].map(|word| (&raw const *word).expose_provenance());
    let frame = Frame::of_compiled_code(code + 0x24, Some(sp), Some(fp));
    // SAFETY: this is the only frame, and its slot is as the stack map says.
    unsafe {
        let walker = RecordedWalker::new(vec![frame], WalkEnd::Complete);
        gc(registry, table, &walker)
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let registry = StackMapRegistry::new();
    let table = VMExternRefActivationsTable::new();
    let object = VMExternRef::new("a host object");
    table.insert_without_gc(object.clone());

    // Where the loader has put the code. The same module can be at several addresses.
    let first = registry.register(0x1_0000, module()?)?;
    let second = registry.register(0x2_0000, module()?)?;
    let overlapping = registry.register(0x2_0080, module()?);
    assert!(
        matches!(overlapping, Err(RegisterError::OverlappingCode)),
        "{overlapping:?}"
    );

    for code in [0x1_0000, 0x2_0000] {
        let report = collect_below(code, &object, &registry, &table);
        assert_eq!((report.outcome, report.roots), (GcOutcome::Swept, 1));
    }

    // SAFETY: no frame is in this code any more.
    unsafe { registry.unregister(first)? };
    // If one was there after all, and the walker called it compiled, then nothing would be freed,
    // and the report would say where it was.
    let report = collect_below(0x1_0000, &object, &registry, &table);
    let pc = 0x1_0024;
    assert_eq!(report.outcome, GcOutcome::KeptUnregistered { pc });
    println!("{report}");

    // The address is free for other code.
    let third = registry.register(0x1_0000, module()?)?;
    let report = collect_below(0x1_0000, &object, &registry, &table);
    assert!(report.swept());
    // SAFETY: as above.
    unsafe {
        registry.unregister(second)?;
        registry.unregister(third)?;
    }
    assert_eq!(object.strong_count(), 2, "the table's, and ours");
    Ok(())
}
