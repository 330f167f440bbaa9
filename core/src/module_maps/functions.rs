//! The code ranges of a module's Wasm functions.

use super::error::RegisterError;
use alloc::vec::Vec;
use core::ops::Range;

/// Ranges of code offsets, sorted, none overlapping.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Functions(Vec<Range<u32>>);

impl Functions {
    pub(super) fn new(mut ranges: Vec<Range<u32>>) -> Result<Self, RegisterError> {
        ranges.sort_unstable_by_key(|range| range.start);
        if ranges.windows(2).any(|pair| pair[0].end > pair[1].start) {
            return Err(RegisterError::OverlappingFunctions);
        }
        Ok(Self(ranges))
    }

    /// The function whose call returns to `offset`.
    ///
    /// A call may be a function's last instruction, so that its return address
    /// is where the next function begins.
    pub(super) fn calling(&self, offset: u32) -> Option<&Range<u32>> {
        let call = offset.checked_sub(1)?;
        let after = self.0.partition_point(|function| function.start <= call);
        let function = self.0.get(after.checked_sub(1)?)?;
        function.contains(&call).then_some(function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_may_end_its_function() {
        let functions = Functions::new(vec![0x20..0x30, 0..0x10, 0x30..0x40]).unwrap();
        for (offset, start) in [
            (0, None),
            (1, Some(0)),
            (0x10, Some(0)),
            (0x11, None),
            (0x30, Some(0x20)),
            (0x31, Some(0x30)),
            (0x41, None),
        ] {
            let found = functions.calling(offset).map(|range| range.start);
            assert_eq!(found, start, "{offset:#x}");
        }
    }
}
