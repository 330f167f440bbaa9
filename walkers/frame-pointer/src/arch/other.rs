//! Any other architecture: records in memory can be followed, its registers are not known.

pub(crate) const HOST_RECORD_BELOW_FP: usize = 0;

#[inline(always)]
pub(crate) fn frame_pointer() -> usize {
    0
}

/// Addresses of Thumb code have their lowest bit set, and instructions have not.
#[inline(always)]
pub(crate) fn strip(pc: usize) -> usize {
    const THUMB: usize = if cfg!(target_arch = "arm") { 1 } else { 0 };
    pc & !THUMB
}
