//! The processor time of this thread.

/// Nanoseconds of processor time that the calling thread has used.
///
/// A neighbour on the same processor does not count, but its use of the
/// caches does.
pub(crate) fn thread_nanoseconds() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a `timespec` of this frame for the system to fill, and every Linux has this
    // clock.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "the thread's clock can be read");
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// The median of `values`, or the upper of the two in the middle.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::{median, thread_nanoseconds};

    #[test]
    fn the_clock_does_not_run_backwards() {
        let before = thread_nanoseconds();
        assert!(thread_nanoseconds() >= before);
    }

    #[test]
    fn the_median_is_no_mean() {
        assert_eq!(median(&mut [1e9, 3.0, 1.0]), Some(3.0));
        assert_eq!(median(&mut []), None);
    }
}
