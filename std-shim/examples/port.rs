//! The interface of the original, Wasmtime's first `externref.rs`, on this library.
//!
//! An engine that was written against it keeps its calls, and replaces the module. What differs:
//! a collection reports, and never frees on a doubt; several stacks, weak references and cycles
//! are there if wanted. Run it with `cargo run -p vmexternref --example port`.

use std::error::Error;
use vmexternref::VMExternRef;

/// What the engine calls.
mod externref {
    use std::ops::Range;
    use vmexternref::{
        GcReport, Matching, ModuleStackMaps, RegisterError, Registration, StackMap, VMExternRef,
    };
    pub(crate) use vmexternref::{StackMapRegistry, VMExternRefActivationsTable};

    /// A safepoint: its offset from the start of its function, and the bit vector of a frame.
    pub(crate) struct StackMapInformation {
        pub(crate) code_offset: u32,
        pub(crate) mapped_words: u32,
        pub(crate) bits: Vec<u32>,
    }

    /// `StackMapRegistry::register_stack_maps`: each function by its range of addresses.
    pub(crate) fn register_stack_maps<'a>(
        registry: &StackMapRegistry,
        functions: impl IntoIterator<Item = (Range<usize>, &'a [StackMapInformation])>,
    ) -> Result<Vec<Registration>, RegisterError> {
        functions
            .into_iter()
            .map(|(code, infos)| register(registry, code, infos))
            .collect()
    }

    fn register(
        registry: &StackMapRegistry,
        code: Range<usize>,
        infos: &[StackMapInformation],
    ) -> Result<Registration, RegisterError> {
        let bytes = u32::try_from(code.len()).map_err(|_| RegisterError::OutsideCode)?;
        // The original took the last safepoint before an address. Say `NearestPreceding` if your
        // compiler records addresses of calls; Cranelift records return addresses.
        let mut module = ModuleStackMaps::new(bytes, Matching::Exact);
        module.function(0..bytes)?;
        for info in infos {
            let live = (0..info.mapped_words)
                .filter(|word| info.bits[*word as usize / 32] >> (word % 32) & 1 != 0);
            let map = StackMap::new(Some(info.mapped_words), live)
                .expect("a live word lies in its frame");
            module.safepoint(info.code_offset, map)?;
        }
        registry.register(code.start, module)
    }

    /// `gc`, and `VMExternRefActivationsTable::insert_with_gc`.
    ///
    /// # Safety
    ///
    /// As before: the stack maps are right, and each call into Wasm sets the stack canary.
    pub(crate) unsafe fn gc(
        registry: &StackMapRegistry,
        table: &VMExternRefActivationsTable,
    ) -> GcReport {
        // SAFETY: the caller keeps the contract.
        unsafe { vmexternref::gc_with_backtrace(registry, table) }
    }

    /// # Safety
    ///
    /// As for [`gc`].
    pub(crate) unsafe fn insert_with_gc(
        table: &VMExternRefActivationsTable,
        reference: VMExternRef,
        registry: &StackMapRegistry,
    ) {
        // SAFETY: the caller keeps the contract.
        unsafe { vmexternref::insert_with_backtrace(table, reference, registry) };
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let registry = externref::StackMapRegistry::new();
    let table = externref::VMExternRefActivationsTable::new();
    let safepoint = externref::StackMapInformation {
        code_offset: 0x24,
        mapped_words: 40,
        bits: vec![1 << 3, 1 << 7],
    };
    let functions = [(0x4000_0000..0x4000_0100, &[safepoint][..])];
    externref::register_stack_maps(&registry, functions)?;

    // `set_stack_canary` has become a call, so that it cannot be forgotten on the way out.
    let report = table.with_stack_canary(|| {
        for number in 0..1000 {
            // SAFETY: the canary is set, and no compiled code runs here.
            unsafe { externref::insert_with_gc(&table, VMExternRef::new(number), &registry) };
        }
        // SAFETY: as above.
        unsafe { externref::gc(&registry, &table) }
    });
    println!("{report}");
    assert!(report.swept() && table.is_empty());
    Ok(())
}
