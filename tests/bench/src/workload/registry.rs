//! W14 and W16: looking up return addresses, registering and unregistering modules.

use super::memory::resident_bytes;
use super::{Lines, Task, Workload};
use crate::contender::Contender::{BTree, Floor, Ours};
use crate::engine::Failure;
use crate::stopwatch::Stopwatch;
use core::hint::black_box;
use std::collections::BTreeMap;
use vmexternref_core::{Matching, ModuleStackMaps, RegisterError, StackMap, StackMapRegistry};

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        row: "W14",
        part: "few",
        contenders: &[Ours, BTree],
        sizes: &[1000],
        quick_sizes: &[100],
        run: |task| look_up(task, "few", 1 << 10),
    },
    Workload {
        row: "W14",
        part: "many",
        contenders: &[Ours, BTree, Floor],
        sizes: &[1000],
        quick_sizes: &[100],
        run: |task| look_up(task, "many", 1 << 20),
    },
    Workload {
        row: "W14",
        part: "register",
        contenders: &[Ours],
        sizes: &[1, 10, 100, 1000, 10_000],
        quick_sizes: &[1, 100],
        run: register,
    },
    Workload {
        row: "W16",
        part: "",
        contenders: &[Ours, BTree],
        sizes: &[1, 1000, 100_000, 1_000_000],
        quick_sizes: &[1, 1000],
        run: register_anywhere,
    },
];

/// Safepoints of one module.
const SAFEPOINTS: u32 = 1000;

/// Bytes from one safepoint to the next.
const STEP: u32 = 24;

const CODE_BYTES: u32 = SAFEPOINTS * STEP;

/// Bytes from one module to the next, with free pages between them.
const MODULE_STEP: usize = 0x10000;

const FIRST_BASE: usize = 0x1000_0000;

pub(super) fn base(module: u32) -> usize {
    FIRST_BASE + module as usize * MODULE_STEP
}

/// A module whose functions have ten safepoints each.
fn module(safepoints: u32) -> Result<ModuleStackMaps, RegisterError> {
    let mut module = ModuleStackMaps::new(CODE_BYTES, Matching::Exact);
    for function in 0..SAFEPOINTS / 10 {
        let start = function * 10 * STEP;
        module.function(start..start + 10 * STEP)?;
    }
    for safepoint in 0..safepoints {
        let map = StackMap::new(Some(8), [safepoint % 8])?;
        module.safepoint(safepoint * STEP + 5, map)?;
    }
    Ok(module)
}

/// A module with one function and one safepoint.
pub(super) fn small_module() -> Result<ModuleStackMaps, RegisterError> {
    let mut module = ModuleStackMaps::new(CODE_BYTES, Matching::Exact);
    module.function(0..CODE_BYTES)?;
    module.safepoint(5, StackMap::new(Some(8), [0])?)?;
    Ok(module)
}

/// Random numbers, the same in every run.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(super) fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let (high, end) = (self.0 >> 32, u64::from(end));
        u32::try_from((high * end) >> 32).unwrap_or(0)
    }

    /// The numbers up to `end` in random order.
    fn shuffled(&mut self, end: u32) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..end).collect();
        for last in (1..end).rev() {
            numbers.swap(last as usize, self.below(last + 1) as usize);
        }
        numbers
    }
}

/// `count` random return addresses of `modules` modules.
fn return_addresses(modules: u32, count: usize) -> Vec<usize> {
    let mut random = Random::new();
    let mut address = || {
        let offset = random.below(SAFEPOINTS) * STEP + 5;
        base(random.below(modules)) + offset as usize
    };
    (0..count).map(|_| address()).collect()
}

/// Looks up `count` random return addresses of `x` modules, repeatedly.
fn look_up(task: &Task, line: &'static str, count: usize) -> Result<Lines, Failure> {
    if task.contender == Floor {
        return follow_pointers(task, line);
    }
    let mut stopwatch = Stopwatch::new(task.effort);
    let addresses = return_addresses(task.x, count);
    let mut turn = addresses.iter().copied().cycle();
    if task.contender == BTree {
        let modules = sorted_modules(task.x);
        stopwatch.run(|| {
            black_box(find_sorted(&modules, turn.next().unwrap_or(0)));
        });
    } else {
        let registry = filled_registry(task.x)?;
        stopwatch.run(|| {
            black_box(registry.is_wasm(turn.next().unwrap_or(0)));
        });
    }
    let figure = stopwatch.figure().ok_or("nothing was timed")?;
    Ok(vec![(line, figure)])
}

fn filled_registry(modules: u32) -> Result<StackMapRegistry, RegisterError> {
    let registry = StackMapRegistry::new();
    for index in 0..modules {
        registry.register(base(index), module(SAFEPOINTS)?)?;
    }
    Ok(registry)
}

/// Bytes that a processor reads at once.
const CACHE_LINE: usize = 64;

/// Follows pointers through as much memory as the registry of `x` modules takes.
///
/// Each read depends on the one before, and every cache line is read once in a turn.
fn follow_pointers(task: &Task, line: &'static str) -> Result<Lines, Failure> {
    let before = resident_bytes()?;
    let registry = filled_registry(task.x)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "lines of some megabytes"
    )]
    let lines = ((resident_bytes()? - before) / CACHE_LINE as f64) as u32;
    drop(registry);
    let order = Random::new().shuffled(lines);
    let mut memory = vec![[0_u32; CACHE_LINE / size_of::<u32>()]; lines as usize];
    for (&from, &to) in order.iter().zip(order.iter().cycle().skip(1)) {
        memory[from as usize][0] = to;
    }
    let mut stopwatch = Stopwatch::new(task.effort);
    let mut at = 0;
    stopwatch.run(|| at = black_box(&memory)[at as usize][0]);
    let figure = stopwatch.figure().ok_or("nothing was timed")?;
    Ok(vec![(line, figure)])
}

/// Modules by their last address; each with its first and its sorted safepoints.
pub(super) type SortedModules = BTreeMap<usize, (usize, Vec<(u32, u32)>)>;

fn sorted_modules(modules: u32) -> SortedModules {
    let safepoints = || (0..SAFEPOINTS).map(|index| (index * STEP + 5, index % 8));
    (0..modules)
        .map(|index| {
            let end = base(index) + CODE_BYTES as usize;
            (end - 1, (base(index), safepoints().collect()))
        })
        .collect()
}

pub(super) fn find_sorted(modules: &SortedModules, pc: usize) -> Option<u32> {
    let (_, (start, safepoints)) = modules.range(pc..).next()?;
    let offset = u32::try_from(pc.checked_sub(*start)?).ok()?;
    let index = safepoints
        .binary_search_by_key(&offset, |&(at, _)| at)
        .ok()?;
    Some(safepoints[index].1)
}

/// Registers one module, and unregisters it.
pub(super) fn register_once(
    registry: &StackMapRegistry,
    base: usize,
    module: ModuleStackMaps,
) -> Result<(), Failure> {
    let registration = registry.register(base, module)?;
    // SAFETY: no code runs at these addresses.
    unsafe { registry.unregister(registration) }.map_err(|_| "the registration is of it")?;
    Ok(())
}

/// Makes the entry of a small module in a B-tree.
pub(super) fn sort_in(modules: &mut SortedModules, base: usize) {
    modules.insert(base + CODE_BYTES as usize - 1, (base, vec![(5, 0)]));
}

/// Removes the entry of a module from a B-tree.
pub(super) fn take_out(modules: &mut SortedModules, base: usize) {
    modules.remove(&(base + CODE_BYTES as usize - 1));
}

/// Makes, registers and unregisters a small module at a random place among `x` others.
fn register_anywhere(task: &Task) -> Result<Lines, Failure> {
    let mut stopwatch = Stopwatch::new(task.effort);
    let mut random = Random::new();
    let others = random.shuffled(task.x).into_iter();
    let mut between = || base(2 * random.below(task.x) + 1);
    if task.contender == BTree {
        let mut modules = SortedModules::new();
        others.for_each(|index| sort_in(&mut modules, base(2 * index)));
        stopwatch.run(|| {
            let base = between();
            sort_in(&mut modules, base);
            take_out(&mut modules, base);
        });
    } else {
        let registry = StackMapRegistry::new();
        for index in others {
            registry.register(base(2 * index), small_module()?)?;
        }
        let mut outcome = Ok(());
        stopwatch.run(|| {
            let module = small_module().map_err(Failure::from);
            let registered = module.and_then(|module| register_once(&registry, between(), module));
            if registered.is_err() {
                outcome = registered;
            }
        });
        outcome?;
    }
    let figure = stopwatch.figure().ok_or("nothing was timed")?;
    Ok(vec![("", figure / 1e3)])
}

/// Registers and unregisters one module among `x` others.
fn register(task: &Task) -> Result<Lines, Failure> {
    let registry = StackMapRegistry::new();
    for index in 0..task.x {
        registry.register(base(2 * index), module(1)?)?;
    }
    let middle = base(task.x | 1);
    let mut stopwatch = Stopwatch::new(task.effort);
    loop {
        let iterations = stopwatch.next();
        if iterations == 0 {
            break;
        }
        for _ in 0..iterations {
            let module = stopwatch.untimed(|| module(SAFEPOINTS))?;
            register_once(&registry, middle, module)?;
        }
    }
    let figure = stopwatch.figure().ok_or("nothing was timed")?;
    Ok(vec![("register", figure / 1e3)])
}

#[cfg(test)]
mod tests {
    use super::{
        Random, SAFEPOINTS, SortedModules, base, find_sorted, module, register_once,
        return_addresses, small_module, sort_in, sorted_modules, take_out,
    };
    use vmexternref_core::StackMapRegistry;

    #[test]
    fn both_sides_know_every_address() {
        let registry = StackMapRegistry::new();
        for index in 0..3 {
            registry
                .register(base(index), module(SAFEPOINTS).unwrap())
                .unwrap();
        }
        let sorted = sorted_modules(3);
        for pc in return_addresses(3, 1000) {
            assert!(registry.is_wasm(pc));
            assert!(find_sorted(&sorted, pc).is_some());
        }
        assert!(!registry.is_wasm(base(3) + 5));
        assert_eq!(find_sorted(&sorted, base(3) + 5), None);
    }

    #[test]
    fn a_shuffle_has_each_number_once() {
        let mut numbers = Random::new().shuffled(100);
        assert!(!numbers.is_sorted());
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..100));
    }

    #[test]
    fn both_sides_forget_a_module_that_came_and_went() {
        let (registry, mut sorted) = (StackMapRegistry::new(), SortedModules::new());
        registry.register(base(0), small_module().unwrap()).unwrap();
        register_once(&registry, base(1), small_module().unwrap()).unwrap();
        for index in [0, 1] {
            sort_in(&mut sorted, base(index));
        }
        take_out(&mut sorted, base(1));
        for (index, known) in [(0, true), (1, false)] {
            assert_eq!(registry.is_wasm(base(index) + 5), known);
            assert_eq!(find_sorted(&sorted, base(index) + 5).is_some(), known);
        }
    }
}
