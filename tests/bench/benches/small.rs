//! Small operations, to compare a change with its parent.
//!
//! `cargo bench -p vmexternref-bench -- --save-baseline parent` before, and
//! `-- --baseline parent` after.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that panics says what failed"
)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::any::Any;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::rc::Rc;
use vmexternref_bench::MadeStack;
use vmexternref_core::{
    Matching, ModuleStackMaps, StackMap, StackMapRegistry, StackWalker, VMExternRef,
    VMExternRefActivationsTable,
};

/// W13.
fn boxes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("box");
    group.bench_function("new, drop", |bencher| {
        bencher.iter(|| drop(black_box(VMExternRef::new(black_box(7_u64)))));
    });
    group.bench_function("Rc: new, drop", |bencher| {
        bencher.iter(|| {
            let object: Rc<dyn Any> = Rc::new(black_box(7_u64));
            drop(black_box(object));
        });
    });
    let (ours, rc) = (VMExternRef::new(7_u64), Rc::new(7_u64) as Rc<dyn Any>);
    group.bench_function("clone, drop", |bencher| {
        bencher.iter(|| drop(black_box(black_box(&ours).clone())));
    });
    group.bench_function("Rc: clone, drop", |bencher| {
        bencher.iter(|| drop(black_box(black_box(&rc).clone())));
    });
    group.bench_function("try_insert", |bencher| {
        bencher.iter_batched_ref(
            || {
                let table = VMExternRefActivationsTable::with_capacity(1024, 1024);
                table.insert_without_gc(ours.clone());
                table
            },
            |table| (0..1000).try_for_each(|_| table.try_insert(ours.clone())),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

const SAFEPOINTS: u32 = 1000;

fn module() -> ModuleStackMaps {
    let mut module = ModuleStackMaps::new(SAFEPOINTS * 16, Matching::Exact);
    module.function(0..SAFEPOINTS * 16).unwrap();
    for safepoint in 0..SAFEPOINTS {
        let map = StackMap::new(Some(8), [safepoint % 8]).unwrap();
        module.safepoint(safepoint * 16 + 5, map).unwrap();
    }
    module
}

/// W14.
fn registry(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry");
    let registry = StackMapRegistry::new();
    for index in 0..1000 {
        registry.register(index << 16, module()).unwrap();
    }
    let mut turn = (0..1 << 20)
        .map(|index: usize| {
            let random = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (((random >> 20) % 1000) << 16) + ((random >> 40) % 1000) * 16 + 5
        })
        .collect::<Vec<_>>()
        .into_iter()
        .cycle();
    group.bench_function("lookup", |bencher| {
        bencher.iter(|| registry.is_wasm(black_box(turn.next().unwrap())));
    });
    group.bench_function("register, unregister", |bencher| {
        bencher.iter_batched(
            module,
            |module| {
                let registration = registry.register((500 << 16) | 0x8000, module).unwrap();
                // SAFETY: no code runs at these addresses.
                unsafe { registry.unregister(registration) }.unwrap();
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// W15, and the collection on top of it.
fn walks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("1000 frames");
    group.throughput(Throughput::Elements(1000));
    for (references, safepoints) in [(0, 1), (0, 16), (1, 1), (4, 1)] {
        let stack = MadeStack::new(1000, references, safepoints).unwrap();
        if (references, safepoints) == (0, 1) {
            group.bench_function("walk", |bencher| {
                bencher.iter(|| {
                    stack.walker().walk(&mut |frame| {
                        black_box(frame);
                        ControlFlow::Continue(())
                    })
                });
            });
        }
        let name = format!("gc, {references} references, {safepoints} return addresses");
        group.bench_function(name, |bencher| {
            bencher.iter(|| stack.collect());
        });
    }
    group.finish();
}

criterion_group!(small, boxes, registry, walks);
criterion_main!(small);
