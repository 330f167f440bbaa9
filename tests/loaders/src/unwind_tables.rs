//! Unwind tables.

use crate::counting::Bound;
use vmexternref_backtrace::UnwindTables;

/// The check keeps where each entry is.
pub(crate) const MEMORY: Bound = Bound {
    fixed: 1 << 16,
    per_byte: 64,
};

/// Checks any bytes as a table.
pub fn read(bytes: &[u8]) {
    if let Ok(functions) = UnwindTables::check(bytes) {
        assert!(functions <= bytes.len() / 8, "an entry has eight bytes");
    }
}
