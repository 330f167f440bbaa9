//! W20 to W23: objects that refer to each other, and weak references.

use super::pauses::milliseconds;
use super::{Lines, Task, Workload};
use crate::clock::median;
use crate::contender::Contender::{Copying, Ours, Python, Rc};
use crate::engine::{Engine, Failure};
use crate::guest;
use crate::stopwatch::Stopwatch;
use core::any::Any;
use core::cell::Cell;
use core::hint::black_box;
use std::io::ErrorKind;
use std::process::Command;
use vmexternref_core::{CycleCollector, Trace, VMExternRef};

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        row: "W20",
        part: "",
        contenders: &[Ours, Copying, Python],
        sizes: &[1_000_000],
        quick_sizes: &[10_000],
        run: dead_rings,
    },
    Workload {
        row: "W21",
        part: "",
        contenders: &[Ours, Copying, Python],
        sizes: &[1_000_000],
        quick_sizes: &[10_000],
        run: living_rings,
    },
    Workload {
        row: "W22",
        part: "",
        contenders: &[Ours],
        sizes: &[0],
        quick_sizes: &[0],
        run: traced_box,
    },
    Workload {
        row: "W23",
        part: "",
        contenders: &[Ours, Rc],
        sizes: &[0],
        quick_sizes: &[0],
        run: upgrade,
    },
];

/// Cells of one ring.
const RING: u32 = 10;

/// The times of one graph of rings, in nanoseconds a cell.
#[derive(Clone, Copy)]
struct Times {
    /// Making and linking the cells.
    made: f64,
    /// A collection while all are held.
    alive: f64,
    /// A collection when none is held.
    dead: f64,
}

fn dead_rings(task: &Task) -> Result<Lines, Failure> {
    let times = rings(task)?;
    let dead = line("dead", &times, |times| times.dead);
    let life = line("life", &times, |times| times.made + times.dead);
    Ok(dead.chain(life).collect())
}

fn living_rings(task: &Task) -> Result<Lines, Failure> {
    Ok(line("", &rings(task)?, |times| times.alive).collect())
}

/// A line with the median of one of the `times`, if there are any.
fn line(
    name: &'static str,
    times: &[Times],
    which: fn(&Times) -> f64,
) -> impl Iterator<Item = (&'static str, f64)> {
    let mut times: Vec<_> = times.iter().map(which).collect();
    median(&mut times).map(|time| (name, time)).into_iter()
}

/// Makes, collects, lets go and collects rings of `x` cells, once for each batch.
///
/// No times if the contender is not on this machine.
fn rings(task: &Task) -> Result<Vec<Times>, Failure> {
    match task.contender {
        Python => rings_in_python(task),
        Ours => Ok((0..task.effort.batches)
            .map(|_| our_rings(task.x))
            .collect()),
        _ => {
            let mut engine = task.instantiate(&guest::module(&ring_guest(task.x)))?;
            let batches = 0..task.effort.batches;
            batches.map(|_| rings_in(&mut *engine, task.x)).collect()
        }
    }
}

impl Times {
    /// From the milliseconds for `cells`.
    fn of(cells: u32, [made, alive, dead]: [f64; 3]) -> Self {
        let each = |milliseconds: f64| milliseconds * 1e6 / f64::from(cells);
        Self {
            made: each(made),
            alive: each(alive),
            dead: each(dead),
        }
    }
}

/// One cell of a ring.
#[derive(Default)]
struct Link(Cell<Option<VMExternRef>>);

impl Trace for Link {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        let next = self.0.take();
        next.iter().for_each(visit);
        self.0.set(next);
    }

    fn unlink(&self) {
        drop(self.0.take());
    }
}

fn our_ring(collector: &CycleCollector) -> VMExternRef {
    let first = collector.new_traced(Link::default());
    let last = (1..RING).fold(first.clone(), |last, _| {
        collector.new_traced(Link(Cell::new(Some(last))))
    });
    if let Some(link) = first.downcast_ref::<Link>() {
        link.0.set(Some(last));
    }
    first
}

fn our_rings(cells: u32) -> Times {
    let collector = CycleCollector::new();
    let mut rings = Vec::new();
    let made = milliseconds(|| rings.extend((0..cells / RING).map(|_| our_ring(&collector))));
    let collect = || {
        milliseconds(|| {
            black_box(collector.collect());
        })
    };
    let alive = collect();
    rings.clear();
    let dead = collect();
    Times::of(cells, [made, alive, dead])
}

/// The same rings of a guest's own structures, held by a table.
fn ring_guest(cells: u32) -> String {
    let rings = cells / RING;
    format!(
        r#"(type $link (struct (field $next (mut (ref null $link)))))
        (table $rings {rings} (ref null $link))
        (func $ring (result (ref null $link))
          (local $first (ref null $link)) (local $last (ref null $link)) (local $left i32)
          (local.set $first (struct.new_default $link))
          (local.set $last (local.get $first))
          (local.set $left (i32.const {RING}))
          (loop $more
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (if (local.get $left)
              (then
                (local.set $last (struct.new $link (local.get $last)))
                (br $more))))
          (struct.set $link $next (local.get $first) (local.get $last))
          (local.get $first))
        (func (export "make") (param $i i32) (result i32)
          (loop $more
            (local.set $i (i32.sub (local.get $i) (i32.const 1)))
            (table.set $rings (local.get $i) (call $ring))
            (br_if $more (local.get $i)))
          (i32.const 0))
        (func (export "forget") (param i32) (result i32)
          (table.fill $rings (i32.const 0) (ref.null $link) (local.get 0))
          (i32.const 0))
        (func (export "collect") (param i32) (result i32)
          (call $gc)
          (i32.const 0))"#
    )
}

fn rings_in(engine: &mut dyn Engine, cells: u32) -> Result<Times, Failure> {
    let rings = i32::try_from(cells / RING)?;
    let mut time = |export| {
        let mut outcome = Ok(0);
        let time = milliseconds(|| outcome = engine.run(export, rings));
        outcome.map(|_| time)
    };
    let (made, alive) = (time("make")?, time("collect")?);
    time("forget")?;
    let dead = time("collect")?;
    Ok(Times::of(cells, [made, alive, dead]))
}

/// The same rings of Python's lists.
fn rings_in_python(task: &Task) -> Result<Vec<Times>, Failure> {
    let arguments = [task.x.to_string(), task.effort.batches.to_string()];
    let script = ["-c", include_str!("cycles.py")];
    let output = match Command::new("python3")
        .args(script)
        .args(arguments)
        .output()
    {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        output => output?,
    };
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let times = |row: &str| -> Result<Times, Failure> {
        let nanoseconds = row.split(' ').map(str::parse::<f64>);
        let [made, alive, dead] = nanoseconds
            .collect::<Result<Vec<_>, _>>()?
            .try_into()
            .map_err(|_| "a line has three numbers")?;
        Ok(Times::of(task.x, [made / 1e6, alive / 1e6, dead / 1e6]))
    };
    String::from_utf8(output.stdout)?
        .lines()
        .map(times)
        .collect()
}

/// A value without references.
struct Leaf(#[expect(dead_code, reason = "only its size matters")] u64);

impl Trace for Leaf {
    fn trace(&self, _: &mut dyn FnMut(&VMExternRef)) {}
    fn unlink(&self) {}
}

/// Nanoseconds that `f` takes.
fn time(task: &Task, f: impl FnMut()) -> Result<f64, Failure> {
    let mut stopwatch = Stopwatch::new(task.effort);
    stopwatch.run(f);
    Ok(stopwatch.figure().ok_or("nothing was timed")?)
}

fn traced_box(task: &Task) -> Result<Lines, Failure> {
    let collector = CycleCollector::new();
    let leaf = || Leaf(black_box(7));
    let untraced = time(task, || drop(black_box(VMExternRef::new(leaf()))))?;
    let traced = time(task, || drop(black_box(collector.new_traced(leaf()))))?;
    Ok(vec![("untraced", untraced), ("traced", traced)])
}

fn upgrade(task: &Task) -> Result<Lines, Failure> {
    let figure = if task.contender == Rc {
        let object: std::rc::Rc<dyn Any> = std::rc::Rc::new(Leaf(7));
        let weak = std::rc::Rc::downgrade(&object);
        time(task, || drop(black_box(black_box(&weak).upgrade())))?
    } else {
        let collector = CycleCollector::new();
        let object = collector.new_traced(Leaf(7));
        let weak = object.downgrade().ok_or("the box is traced")?;
        time(task, || drop(black_box(black_box(&weak).upgrade())))?
    };
    Ok(vec![("", figure)])
}

#[cfg(test)]
mod tests {
    use super::{Link, Python, Task, WORKLOADS, our_ring, rings};
    use crate::stopwatch::Effort;
    use vmexternref_core::{CycleCollector, VMExternRef};

    #[test]
    fn a_ring_leads_back_after_ten_cells() {
        let collector = CycleCollector::new();
        let first = our_ring(&collector);
        let mut cell = first.clone();
        for left in (0..super::RING).rev() {
            let link = cell.downcast_ref::<Link>().unwrap();
            let next = link.0.take().unwrap();
            link.0.set(Some(next.clone()));
            cell = next;
            assert_eq!(VMExternRef::eq(&cell, &first), left == 0);
        }
        drop((first, cell));
        assert_eq!(collector.collect().freed, super::RING as usize);
    }

    #[test]
    fn every_contender_makes_rings() {
        for &contender in WORKLOADS[0].contenders {
            if !contender.is_compiled_in() {
                continue;
            }
            let task = Task {
                contender,
                x: 100,
                effort: Effort::QUICK,
            };
            let times = rings(&task).unwrap();
            let absent = contender == Python && times.is_empty();
            assert!(
                absent || times.len() == Effort::QUICK.batches,
                "{contender}"
            );
            assert!(times.iter().all(|times| times.made > 0.0), "{contender}");
        }
    }
}
