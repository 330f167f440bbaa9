//! Batches of iterations: how many to run, and how long each took.

use crate::clock::{median, thread_nanoseconds};

/// How much of the machine a measurement may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Nanoseconds that one batch should last.
    pub(crate) batch: u64,
    /// Batches whose median counts.
    pub(crate) batches: usize,
    /// How often all measurements are repeated, one after the other; the least counts.
    pub(crate) rounds: usize,
}

impl Effort {
    /// What the published figures are made with.
    pub(crate) const FULL: Self = Self {
        batch: 10_000_000,
        batches: 11,
        rounds: 8,
    };

    /// Enough to see that everything runs.
    pub(crate) const QUICK: Self = Self {
        batch: 200_000,
        batches: 3,
        rounds: 1,
    };
}

/// Hands out batches, and times them from one question to the next.
///
/// Guests ask too, through the import `bench.next`: so one loop in Wasm is
/// calibrated and timed without a call of the host for each iteration.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    effort: Effort,
    /// Iterations of the batch that runs, and when it began.
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

    /// Ends the batch that runs and begins another; 0 when there were enough.
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

    /// Until a batch lasts long enough, it only says how long the next must be.
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
