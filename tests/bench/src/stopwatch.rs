//! Batches of iterations, and their times.

use crate::clock::{median, thread_nanoseconds};

/// The effort of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Nanoseconds that one batch should last.
    pub(crate) batch: u64,
    /// The number of batches. Their median is the result.
    pub(crate) batches: usize,
    /// The number of rounds of all measurements. The least result of a measurement counts.
    pub(crate) rounds: usize,
}

impl Effort {
    /// The effort of the published figures.
    pub(crate) const FULL: Self = Self {
        batch: 10_000_000,
        batches: 11,
        rounds: 8,
    };

    /// Just enough to check that everything runs.
    pub(crate) const QUICK: Self = Self {
        batch: 200_000,
        batches: 3,
        rounds: 1,
    };
}

/// Hands out batches, and times each from one request to the next.
///
/// Guests request batches too, through the import `bench.next`. So a loop in Wasm is
/// calibrated and timed without a call of the host for each iteration.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    effort: Effort,
    /// The iterations of the running batch, and its start.
    running: Option<(i32, u64)>,
    iterations: i32,
    calibrated: bool,
    /// Nanoseconds per iteration, one entry a batch.
    figures: Vec<f64>,
}

/// The most iterations of one batch.
const MOST: i32 = 1 << 28;

impl Stopwatch {
    pub(crate) fn new(effort: Effort) -> Self {
        Self {
            effort,
            running: None,
            iterations: 1,
            calibrated: false,
            figures: Vec::new(),
        }
    }

    /// Ends the running batch and starts another. Returns its iterations, or 0 after the last
    /// batch.
    pub(crate) fn next(&mut self) -> i32 {
        let now = thread_nanoseconds();
        if let Some((iterations, begin)) = self.running.take() {
            self.note(iterations, now - begin);
        }
        if self.figures.len() == self.effort.batches {
            return 0;
        }
        self.running = Some((self.iterations, thread_nanoseconds()));
        self.iterations
    }

    /// Runs `f` without counting its time.
    pub(crate) fn untimed<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let before = thread_nanoseconds();
        let result = f();
        if let Some((_, begin)) = &mut self.running {
            *begin += thread_nanoseconds() - before;
        }
        result
    }

    /// Times batches of `f` until there are enough.
    pub(crate) fn run(&mut self, mut f: impl FnMut()) {
        loop {
            let iterations = self.next();
            if iterations == 0 {
                return;
            }
            for _ in 0..iterations {
                f();
            }
        }
    }

    /// Nanoseconds per iteration: the median of the batches.
    pub(crate) fn figure(&mut self) -> Option<f64> {
        median(&mut self.figures)
    }

    /// A batch that is too short only calibrates the length of the next one.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "times of seconds at most, and iterations clamped to their type"
    )]
    fn note(&mut self, iterations: i32, elapsed: u64) {
        let each = elapsed as f64 / f64::from(iterations);
        if self.calibrated {
            self.figures.push(each);
            return;
        }
        self.calibrated = elapsed >= self.effort.batch / 2 || iterations == MOST;
        let fitting = self.effort.batch as f64 / each.max(0.1);
        let next = fitting.clamp(1.0, f64::from(iterations) * 16.0);
        self.iterations = (next as i32).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::{Effort, Stopwatch};

    #[test]
    fn calibrates_and_then_counts() {
        let mut stopwatch = Stopwatch::new(Effort::QUICK);
        let mut sum = 0_u64;
        stopwatch.run(|| sum = core::hint::black_box(sum + 1));
        assert_eq!(stopwatch.figures.len(), Effort::QUICK.batches);
        assert!(stopwatch.figure().unwrap() > 0.0);
        assert_eq!(stopwatch.next(), 0);
    }

    #[test]
    fn what_is_untimed_does_not_count() {
        let mut stopwatch = Stopwatch::new(Effort::QUICK);
        stopwatch.next();
        let spin = || (0..1_000_000).fold(0_u64, |sum, i| core::hint::black_box(sum + i));
        stopwatch.untimed(spin);
        stopwatch.next();
        assert!(!stopwatch.calibrated);
    }
}
