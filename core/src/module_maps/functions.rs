//! The code ranges of a module's Wasm functions.

use super::error::RegisterError;
use super::lists::sort;
use alloc::vec::Vec;

/// Where functions begin and end in the code, sorted, none overlapping.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Functions(Vec<(u32, u32)>);

impl Functions {
    pub(super) fn new(mut functions: Vec<(u32, u32)>) -> Result<Self, RegisterError> {
        sort(&mut functions);
        if !functions.is_sorted_by(|a, b| a.1 <= b.0) {
            return Err(RegisterError::OverlappingFunctions);
        }
        Ok(Self(functions))
    }

    /// Whether a function's call returns to `offset`.
    ///
    /// A call may be a function's last instruction, so that its return address
    /// is where the next function begins.
    #[inline]
    pub(super) fn calls(&self, offset: u32) -> bool {
        find(&self.0, offset).is_some()
    }

    /// Where the function begins and ends whose call returns to `offset`.
    // Not inlined: it is for what is rare.
    #[inline(never)]
    pub(super) fn containing(&self, offset: u32) -> Option<(u32, u32)> {
        find(&self.0, offset)
    }
}

/// The function among the sorted `functions` whose call returns to `offset`.
#[inline(always)]
fn find(functions: &[(u32, u32)], offset: u32) -> Option<(u32, u32)> {
    let call = offset.checked_sub(1)?;
    let after = functions.partition_point(|&(start, _)| start <= call);
    let &(start, end) = functions.get(after.checked_sub(1)?)?;
    (call < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_may_end_its_function() {
        let functions = Functions::new(vec![(0x20, 0x30), (0, 0x10), (0x30, 0x40)]).unwrap();
        for (offset, start) in [
            (0, None),
            (1, Some(0)),
            (0x10, Some(0)),
            (0x11, None),
            (0x30, Some(0x20)),
            (0x31, Some(0x30)),
            (0x41, None),
        ] {
            let found = functions.containing(offset).map(|(start, _)| start);
            assert_eq!(found, start, "{offset:#x}");
            assert_eq!(functions.calls(offset), start.is_some(), "{offset:#x}");
        }
    }
}
