//! Where the code is whose unwind tables are registered.

use crate::error::UnwindTablesError;
use core::ops::Range;
use std::sync::{PoisonError, RwLock};

/// The code of each registered table, in rising order.
///
/// The lock is held for a single lookup or change, during which no foreign code runs, nor any
/// allocator's: one that collects walks.
static CODE: RwLock<Vec<Range<usize>>> = RwLock::new(Vec::new());

/// The code of one registered table, which walks call compiled until this is dropped.
#[derive(Debug)]
pub(crate) struct CompiledCode(Range<usize>);

impl CompiledCode {
    /// Makes known that compiled code is at `range`, which shares no address with any other.
    pub(crate) fn new(range: Range<usize>) -> Result<Self, UnwindTablesError> {
        if range.is_empty() {
            return Ok(Self(range));
        }
        // Allocated, and freed, where the lock is not held.
        let mut larger = Vec::new();
        loop {
            let mut code = CODE.write().unwrap_or_else(PoisonError::into_inner);
            let len = code.len();
            if len == code.capacity() && len < larger.capacity() {
                larger.append(&mut code);
                core::mem::swap(&mut larger, &mut code);
            }
            if len < code.capacity() {
                let place = code.partition_point(|other| other.start < range.start);
                code.insert(place, range.clone());
                return Ok(Self(range));
            }
            drop(code);
            let reserved = larger.try_reserve_exact(2 * len + 1);
            reserved.map_err(|_| UnwindTablesError::OutOfMemory)?;
        }
    }

    /// Whether the call that returns to `pc` is in the code of some registered table.
    pub(crate) fn returns_to(pc: usize) -> bool {
        let call = pc.wrapping_sub(1);
        let code = CODE.read().unwrap_or_else(PoisonError::into_inner);
        let after = code.partition_point(|range| range.start <= call);
        after > 0 && call < code[after - 1].end
    }
}

impl Drop for CompiledCode {
    fn drop(&mut self) {
        let mut code = CODE.write().unwrap_or_else(PoisonError::into_inner);
        let place = code.partition_point(|other| other.start < self.0.start);
        if code.get(place) == Some(&self.0) {
            code.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CompiledCode;

    #[test]
    fn calls_are_compiled_while_their_code_is_known() {
        // No program has code there.
        let (first, second) = (0x10..0x20, 0x20..0x28);
        let returns_to = |pcs: &[usize]| {
            let compiled = |pc: &usize| CompiledCode::returns_to(*pc);
            pcs.iter().map(compiled).collect::<Vec<_>>()
        };
        let nothing = CompiledCode::new(0x18..0x18).unwrap();
        assert_eq!(returns_to(&[0, 0x11, 0x19]), [false; 3]);
        let first = CompiledCode::new(first).unwrap();
        let second = CompiledCode::new(second).unwrap();
        let pcs = [0x10, 0x11, 0x20, 0x21, 0x28, 0x29];
        assert_eq!(returns_to(&pcs), [false, true, true, true, true, false]);
        drop((nothing, first));
        assert_eq!(returns_to(&pcs), [false, false, false, true, true, false]);
        drop(second);
        assert_eq!(returns_to(&pcs), [false; 6]);
    }
}
