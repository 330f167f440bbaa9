//! Whether the host's own code keeps frame pointers.
//!
//! ```text
//!   oldest:   mark                                    addresses fall
//!   outer:    [older fp, return pc]  <- fp    mark        |
//!   inner:    [older fp, return pc]  <- fp    mark        V
//!                 `---- must be outer's fp
//! ```
//!
//! With frame pointers, each function's `fp` lies between its own mark and that of its caller, and
//! leads to the caller's. The order is checked before anything is read.

use crate::arch::{HOST_RECORD_BELOW_FP, frame_pointer};
use crate::record::{RecordLayout, WORD};
use core::hint::black_box;
use core::ptr;

/// Whether this crate was built with frame pointers.
///
/// Calls a few functions and looks for their frame records. `false` also on architectures whose
/// frame pointer is not known to this crate. A whole Cargo build shares the flag
/// (`-C force-frame-pointers=yes`); other languages' code in the process does not.
///
/// ```
/// if !vmexternref_frame_pointer::host_has_frame_pointers() {
///     eprintln!("build this host with RUSTFLAGS=-Cforce-frame-pointers=yes");
/// }
/// ```
#[must_use]
#[inline(never)]
pub fn host_has_frame_pointers() -> bool {
    let mark = 0_usize;
    let found = outer(ptr::from_ref(black_box(&mark)).addr());
    black_box(&mark);
    found
}

#[inline(never)]
fn outer(caller_mark: usize) -> bool {
    let mark = 0_usize;
    let own_mark = ptr::from_ref(black_box(&mark)).addr();
    let fp = frame_pointer();
    let found = has_record_between(fp, own_mark, caller_mark) && inner(own_mark, fp);
    // Not a tail call: this frame stays while `inner` runs.
    black_box(&mark);
    found
}

#[inline(never)]
fn inner(caller_mark: usize, caller_fp: usize) -> bool {
    let mark = 0_usize;
    let own_mark = ptr::from_ref(black_box(&mark)).addr();
    let fp = frame_pointer();
    // A call, as functions without one may have no frame (`-C force-frame-pointers=non-leaf`).
    let check: fn(usize, usize, usize) -> bool = black_box(has_record_between);
    if !check(fp, own_mark, caller_mark) {
        return false;
    }
    let record = ptr::with_exposed_provenance::<usize>(fp - HOST_RECORD_BELOW_FP);
    // SAFETY: the record was found to be aligned and to lie between locals of two functions that
    // are running, which is stack in use.
    let older = unsafe { record.read() };
    older == caller_fp
}

/// Whether the frame pointer's whole record lies between two addresses of the stack.
fn has_record_between(fp: usize, low: usize, high: usize) -> bool {
    let record = fp.wrapping_sub(HOST_RECORD_BELOW_FP);
    record & (WORD - 1) == 0
        && low < record
        && record < high
        && high - record >= RecordLayout::PAIR.size
}

#[cfg(test)]
mod tests {
    use super::{has_record_between, host_has_frame_pointers};
    use crate::arch::HOST_RECORD_BELOW_FP;
    use crate::record::{RecordLayout, WORD};

    #[test]
    fn a_record_must_be_whole_aligned_and_between() {
        let low = 100 * WORD;
        let fits = |record: usize, high| {
            has_record_between(record.wrapping_add(HOST_RECORD_BELOW_FP), low, high)
        };
        assert!(fits(low + WORD, low + WORD + RecordLayout::PAIR.size));
        assert!(
            !fits(low + WORD, low + RecordLayout::PAIR.size),
            "reaches past the upper address"
        );
        assert!(!fits(low + WORD + 1, low + 9 * WORD), "misaligned");
        assert!(!fits(low, low + 9 * WORD), "the mark itself");
        assert!(!fits(low + 9 * WORD, low + 9 * WORD), "above");
        assert!(!fits(0, low + 9 * WORD), "null");
    }

    /// `tests/checks/frame-pointers.sh` has the other answer: a build without frame pointers.
    #[test]
    #[cfg_attr(miri, ignore = "Miri has no registers")]
    fn this_build_has_frame_pointers_at_any_depth_where_they_are_known() {
        fn at_depth(depth: usize) -> bool {
            let deeper = depth == 0 || at_depth(depth - 1) && host_has_frame_pointers();
            core::hint::black_box(deeper)
        }
        let known = cfg!(any(
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "x86_64"
        ));
        assert_eq!(
            at_depth(50),
            known,
            ".cargo/config.toml asks for frame pointers"
        );
    }
}
