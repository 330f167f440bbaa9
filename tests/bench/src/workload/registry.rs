//! W14: looking up return addresses, registering and unregistering modules.

use super::{Lines, Task, Workload};
use crate::contender::Contender::{BTree, Ours};
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
        contenders: &[Ours, BTree],
        sizes: &[1000],
        quick_sizes: &[100],
        run: |task| look_up(task, "many", 1 << 16),
    },
    Workload {
        row: "W14",
        part: "register",
        contenders: &[Ours],
        sizes: &[1, 10, 100, 1000, 10_000],
        quick_sizes: &[1, 100],
        run: register,
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

fn base(module: u32) -> usize {
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

/// Random numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let (high, end) = (self.0 >> 32, u64::from(end));
        u32::try_from((high * end) >> 32).unwrap_or(0)
    }
}

/// `count` random return addresses of `modules` modules.
fn return_addresses(modules: u32, count: usize) -> Vec<usize> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut address = || {
        let offset = random.below(SAFEPOINTS) * STEP + 5;
        base(random.below(modules)) + offset as usize
    };
    (0..count).map(|_| address()).collect()
}

/// Looks up `count` random return addresses of `x` modules, repeatedly.
fn look_up(task: &Task, line: &'static str, count: usize) -> Result<Lines, Failure> {
    let mut stopwatch = Stopwatch::new(task.effort);
    let addresses = return_addresses(task.x, count);
    let mut turn = addresses.iter().copied().cycle();
    if task.contender == BTree {
        let modules = sorted_modules(task.x);
        stopwatch.run(|| {
            black_box(find_sorted(&modules, turn.next().unwrap_or(0)));
        });
    } else {
        let registry = StackMapRegistry::new();
        for index in 0..task.x {
            registry.register(base(index), module(SAFEPOINTS)?)?;
        }
        stopwatch.run(|| {
            black_box(registry.is_wasm(turn.next().unwrap_or(0)));
        });
    }
    let figure = stopwatch.figure().ok_or("nothing was timed")?;
    Ok(vec![(line, figure)])
}

/// Modules by their last address; each with its first and its sorted safepoints.
type SortedModules = BTreeMap<usize, (usize, Vec<(u32, u32)>)>;

fn sorted_modules(modules: u32) -> SortedModules {
    let safepoints = || (0..SAFEPOINTS).map(|index| (index * STEP + 5, index % 8));
    (0..modules)
        .map(|index| {
            let end = base(index) + CODE_BYTES as usize;
            (end - 1, (base(index), safepoints().collect()))
        })
        .collect()
}

fn find_sorted(modules: &SortedModules, pc: usize) -> Option<u32> {
    let (_, (start, safepoints)) = modules.range(pc..).next()?;
    let offset = u32::try_from(pc.checked_sub(*start)?).ok()?;
    let index = safepoints
        .binary_search_by_key(&offset, |&(at, _)| at)
        .ok()?;
    Some(safepoints[index].1)
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
            let registration = registry.register(middle, module)?;
            // SAFETY: no code runs at these addresses.
            unsafe { registry.unregister(registration) }
                .map_err(|_| "the registration is of this registry")?;
        }
    }
    let figure = stopwatch.figure().ok_or("nothing was timed")?;
    Ok(vec![("register", figure / 1e3)])
}

#[cfg(test)]
mod tests {
    use super::{SAFEPOINTS, base, find_sorted, module, return_addresses, sorted_modules};
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
}
