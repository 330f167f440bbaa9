//! W17 and W18: registrations and collections on several threads.

use super::registry::{
    Random, SortedModules, base, find_sorted, register_once, small_module, sort_in, take_out,
};
use super::{Lines, Task, Workload};
use crate::clock::{median, thread_nanoseconds};
use crate::contender::Contender::{BTree, Floor, Ours};
use crate::engine::Failure;
use crate::stopwatch::{Effort, Stopwatch};
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Barrier, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};
use vmexternref_bench::MadeStack;
use vmexternref_core::StackMapRegistry;

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        row: "W17",
        part: "",
        contenders: &[Ours, BTree],
        sizes: &[0, 1, 2],
        quick_sizes: &[0, 2],
        run: register_beside_collections,
    },
    Workload {
        row: "W18",
        part: "",
        contenders: &[Ours, Floor],
        sizes: &[1, 2],
        quick_sizes: &[1, 2],
        run: collect_on_threads,
    },
];

/// Modules in the registry that the threads share.
const MODULES: u32 = 1000;

/// Frames of each stack that is collected.
const FRAMES: usize = 100;

/// What the threads of W17 share.
trait Shared: Sync {
    /// Registers a small module at `base`, and unregisters it.
    fn register_and_remove(&self, base: usize) -> Result<(), Failure>;

    /// Collects below [`FRAMES`] frames until `stop` is set.
    fn collect(&self, started: &Barrier, stop: &AtomicBool);
}

impl Shared for Arc<StackMapRegistry> {
    fn register_and_remove(&self, base: usize) -> Result<(), Failure> {
        register_once(self, base, small_module()?)
    }

    fn collect(&self, started: &Barrier, stop: &AtomicBool) {
        let stack = made_stack(self);
        started.wait();
        while !stop.load(Relaxed) {
            black_box(stack.collect());
        }
    }
}

fn made_stack(registry: &Arc<StackMapRegistry>) -> MadeStack {
    MadeStack::registered_in(Arc::clone(registry), FRAMES, 1, 1)
        .expect("the code has room for one safepoint, and is registered once or is the same")
}

/// A collection is as many lookups under one lock, without anything to mark or sweep.
impl Shared for RwLock<SortedModules> {
    fn register_and_remove(&self, base: usize) -> Result<(), Failure> {
        sort_in(
            &mut self.write().unwrap_or_else(PoisonError::into_inner),
            base,
        );
        take_out(
            &mut self.write().unwrap_or_else(PoisonError::into_inner),
            base,
        );
        Ok(())
    }

    fn collect(&self, started: &Barrier, stop: &AtomicBool) {
        started.wait();
        while !stop.load(Relaxed) {
            let modules = self.read().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..FRAMES {
                black_box(find_sorted(&modules, black_box(base(0) + 5)));
            }
        }
    }
}

/// Registers on one thread while `x` others collect.
fn register_beside_collections(task: &Task) -> Result<Lines, Failure> {
    if task.contender == BTree {
        let mut modules = SortedModules::new();
        (0..MODULES).for_each(|index| sort_in(&mut modules, base(2 * index)));
        return register_beside(task, &RwLock::new(modules));
    }
    let registry = Arc::new(StackMapRegistry::new());
    for index in 0..MODULES {
        registry.register(base(2 * index), small_module()?)?;
    }
    register_beside(task, &registry)
}

fn register_beside(task: &Task, shared: &impl Shared) -> Result<Lines, Failure> {
    let (started, stop) = (Barrier::new(task.x as usize + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        // The allocator locks from the first thread on, so that there is always one.
        scope.spawn(|| ());
        for _ in 0..task.x {
            scope.spawn(|| shared.collect(&started, &stop));
        }
        started.wait();
        let outcome = time_registrations(task.effort, shared);
        stop.store(true, Relaxed);
        outcome
    })
}

/// Microseconds of one registration, its processor time, and milliseconds of the slowest.
#[expect(clippy::cast_precision_loss, reason = "times of seconds at most")]
fn time_registrations(effort: Effort, shared: &impl Shared) -> Result<Lines, Failure> {
    // The threads are more than the processors: the scheduler needs some turns.
    let batch = Duration::from_nanos(5 * effort.batch);
    let mut random = Random::new();
    let (mut real, mut processor, mut slowest) = (Vec::new(), Vec::new(), Duration::ZERO);
    for _ in 0..effort.batches {
        let (begin, mut count) = (Instant::now(), 0);
        let (mut now, processor_begin) = (begin, thread_nanoseconds());
        while now - begin < batch {
            shared.register_and_remove(base(2 * random.below(MODULES) + 1))?;
            let end = Instant::now();
            slowest = slowest.max(end - now);
            now = end;
            count += 1;
        }
        let each = |nanoseconds: f64| nanoseconds / 1e3 / f64::from(count);
        processor.push(each((thread_nanoseconds() - processor_begin) as f64));
        real.push(each((now - begin).as_nanos() as f64));
    }
    Ok(vec![
        ("each", median(&mut real).ok_or("nothing was timed")?),
        (
            "processor",
            median(&mut processor).ok_or("nothing was timed")?,
        ),
        ("slowest", slowest.as_secs_f64() * 1e3),
    ])
}

/// Collects on `x` threads at once: nanoseconds per collection of all together.
///
/// The stacks share a registry, or have one each.
fn collect_on_threads(task: &Task) -> Result<Lines, Failure> {
    let shared = Arc::new(StackMapRegistry::new());
    let (started, finished) = (Barrier::new(task.x as usize), AtomicU32::new(0));
    let measure = || {
        let own = Arc::new(StackMapRegistry::new());
        let registry = if task.contender == Floor {
            &own
        } else {
            &shared
        };
        let stack = made_stack(registry);
        let mut stopwatch = Stopwatch::new(task.effort);
        started.wait();
        stopwatch.run(|| {
            black_box(stack.collect());
        });
        finished.fetch_add(1, Relaxed);
        // The others are measured beside this thread to their end.
        while finished.load(Relaxed) < task.x {
            black_box(stack.collect());
        }
        stopwatch.figure()
    };
    let figures: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..task.x).map(|_| scope.spawn(measure)).collect();
        let results = threads
            .into_iter()
            .map(|thread| thread.join().ok().flatten());
        results.collect()
    });
    let mut rate = 0.0;
    for figure in figures {
        rate += 1.0 / figure.ok_or("nothing was timed")?;
    }
    Ok(vec![("", 1.0 / rate)])
}
