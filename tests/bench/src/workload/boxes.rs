//! W13: the box alone, beside those of the standard library.

use super::{Lines, Task, Workload};
use crate::contender::Contender::{Arc, Ours, Rc, Slab};
use crate::engine::Failure;
use crate::handles::Handles;
use crate::stopwatch::Stopwatch;
use core::any::Any;
use core::hint::black_box;
use vmexternref_core::VMExternRef;

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        row: "W13",
        part: "new",
        contenders: &[Ours, Rc, Arc, Slab],
        sizes: &[0],
        quick_sizes: &[0],
        run: |task| time(task, "new", new_and_drop),
    },
    Workload {
        row: "W13",
        part: "clone",
        contenders: &[Ours, Rc, Arc],
        sizes: &[0],
        quick_sizes: &[0],
        run: |task| time(task, "clone", clone_and_drop),
    },
];

fn time(task: &Task, line: &'static str, run: fn(&Task, &mut Stopwatch)) -> Result<Lines, Failure> {
    let mut stopwatch = Stopwatch::new(task.effort);
    run(task, &mut stopwatch);
    let figure = stopwatch.figure().ok_or("nothing was timed")?;
    Ok(vec![(line, figure)])
}

fn new_and_drop(task: &Task, stopwatch: &mut Stopwatch) {
    match task.contender {
        Rc => stopwatch.run(|| {
            let object: std::rc::Rc<dyn Any> = std::rc::Rc::new(black_box(7_u64));
            drop(black_box(object));
        }),
        Arc => stopwatch.run(|| {
            let object: std::sync::Arc<dyn Any> = std::sync::Arc::new(black_box(7_u64));
            drop(black_box(object));
        }),
        Slab => {
            let mut slab: Handles<Box<dyn Any>> = Handles::new();
            stopwatch.run(|| {
                let index = slab.insert(Box::new(black_box(7_u64)));
                drop(slab.remove(black_box(index)));
            });
        }
        _ => stopwatch.run(|| drop(black_box(VMExternRef::new(black_box(7_u64))))),
    }
}

fn clone_and_drop(task: &Task, stopwatch: &mut Stopwatch) {
    match task.contender {
        Rc => {
            let object: std::rc::Rc<dyn Any> = std::rc::Rc::new(7_u64);
            stopwatch.run(|| drop(black_box(black_box(&object).clone())));
        }
        Arc => {
            let object: std::sync::Arc<dyn Any> = std::sync::Arc::new(7_u64);
            stopwatch.run(|| drop(black_box(black_box(&object).clone())));
        }
        _ => {
            let object = VMExternRef::new(7_u64);
            stopwatch.run(|| drop(black_box(black_box(&object).clone())));
        }
    }
}
