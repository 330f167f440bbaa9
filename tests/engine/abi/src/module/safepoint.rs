//! Safepoints, as a section of stack maps describes them.

use alloc::vec::Vec;
use wasmtime_environ::StackMap;

/// One call in the text, and where its frame holds live references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safepoint {
    /// The return address of the call, in bytes from the start of the text.
    pub return_offset: u32,
    /// Bytes between the stack pointer at the call and the frame pointer.
    pub frame_bytes: u32,
    /// Where the references are, in bytes from the stack pointer at the call.
    pub references: Vec<u32>,
}

impl Safepoint {
    /// Finds the safepoint with that return address in a `.wasmtime.stackmap` section.
    ///
    /// For tests and traces: a collection uses the registry, which has read the same section.
    #[must_use]
    pub fn lookup(section: &[u8], return_offset: u32) -> Option<Self> {
        let map = StackMap::lookup(return_offset, section)?;
        Some(Self {
            return_offset,
            frame_bytes: map.frame_size(),
            references: map.offsets().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Safepoint;
    use std::vec;
    use std::vec::Vec;

    /// One safepoint at 0x30: a frame of 32 bytes with references in its words 0 and 2.
    fn section() -> Vec<u8> {
        let words: [u32; 6] = [1, 0x30, 0, 32, 1, 0b1_0001];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_safepoint_is_found_by_its_return_address() {
        let expected = Safepoint {
            return_offset: 0x30,
            frame_bytes: 32,
            references: vec![0, 16],
        };
        assert_eq!(Safepoint::lookup(&section(), 0x30), Some(expected));
        for other in [0, 0x2f, 0x31] {
            assert_eq!(Safepoint::lookup(&section(), other), None, "{other:#x}");
        }
        assert_eq!(Safepoint::lookup(&[], 0x30), None);
    }

    #[test]
    fn a_truncated_section_has_no_safepoint() {
        let section = section();
        for len in 0..section.len() {
            assert_eq!(
                Safepoint::lookup(&section[..len], 0x30),
                None,
                "{len} bytes"
            );
        }
    }
}
