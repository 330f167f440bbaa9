//! Sections of stack maps.

use crate::counting::Bound;
use vmexternref_core::{Matching, ModuleStackMaps, StackMapRegistry};
use vmexternref_engine_abi::Safepoint;

/// A section names each of its words at most once.
pub(crate) const MEMORY: Bound = Bound {
    fixed: 1 << 16,
    per_byte: 128,
};

/// Where the code seems to be. Nothing runs it.
const CODE: usize = 0x10_0000;

/// Bytes of the code.
const CODE_BYTES: u32 = 1 << 20;

/// Reads any bytes as a section, and registers the safepoints in it.
pub fn read(bytes: &[u8]) {
    for offset in [0, 1, 0x10, CODE_BYTES, u32::MAX] {
        let _ = Safepoint::lookup(bytes, offset);
    }
    let mut module = ModuleStackMaps::new(CODE_BYTES, Matching::Exact);
    module.function(0..CODE_BYTES).expect("the whole code");
    if module.stack_map_section(bytes).is_err() {
        return;
    }
    let registry = StackMapRegistry::new();
    if let Ok(registration) = registry.register(CODE, module) {
        assert!(registry.is_wasm(CODE + 1), "the code is registered");
        // SAFETY: nothing runs the code.
        let gone = unsafe { registry.unregister(registration) };
        assert!(gone.is_ok() && !registry.is_wasm(CODE + 1));
    }
}
