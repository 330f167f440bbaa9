//! Any other architecture: records in memory can be followed, its registers are not known.

pub(crate) const HOST_RECORD_BELOW_FP: usize = 0;
#[inline(always)]
pub(crate) fn frame_pointer() -> usize {
    0
}

#[inline(always)]
pub(crate) fn strip(pc: usize) -> usize {
    pc
}
