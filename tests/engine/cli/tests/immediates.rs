//! Guests that hold small integers in the words of references.

use crate::WALKS;
use core::cell::Cell;
use core::ops::Range;
use std::rc::Rc;
use vmexternref_core::{GcOutcome, GcReport};
use vmexternref_engine::{Session, Settings, assemble, on_guest_stack};
use vmexternref_engine_host::Census;
use vmexternref_engine_runtime::{
    Extern, Func, FuncType, RawHostFn, VMContext, VMHostFunc, Val, ValType,
};

/// The bit of a word that is an integer.
const INTEGER: u64 = 1;

const DEPTH: i64 = 20;

/// Each frame holds an integer, a reference and null across collections and the frames below it.
const GUEST: &str = r#"(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "small" "box" (func $box (param i64) (result externref)))
  (import "small" "unbox" (func $unbox (param externref) (result i64)))
  (func $down (export "down")
    (param $depth i64) (param $integer externref) (param $null externref) (result i64)
    (local $reference externref) (local $below i64)
    (local.set $reference (call $new (local.get $depth)))
    (drop (call $new (i64.const -1)))
    (call $gc)
    (if (i64.ne (local.get $depth) (i64.const 0))
      (then
        (local.set $below
          (call $down (i64.sub (local.get $depth) (i64.const 1))
            (call $box (i64.mul (local.get $depth) (i64.const 1000))) (local.get $null)))))
    (call $gc)
    (if (i32.eqz (ref.is_null (local.get $null))) (then unreachable))
    (i64.add (local.get $below)
      (i64.add (call $value (local.get $reference)) (call $unbox (local.get $integer)))))
  (func (export "start") (param $depth i64) (result i64)
    (call $down (local.get $depth) (call $box (i64.const 0)) (ref.null extern))))"#;

/// Makes a word of an integer, which is in no table.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn box_integer(
    _: *const VMHostFunc,
    _: *const VMContext,
    values: *mut u64,
) -> u32 {
    // SAFETY: the function has one parameter and one result, which share a slot.
    unsafe { values.write(values.read() << 1 | INTEGER) };
    0
}

/// Fails where the word is a reference.
///
/// # Safety
///
/// As [`RawHostFn`] says.
unsafe extern "C" fn unbox_integer(
    _: *const VMHostFunc,
    _: *const VMContext,
    values: *mut u64,
) -> u32 {
    // SAFETY: the function has one parameter and one result, which share a slot.
    unsafe {
        let word = values.read();
        values.write(word >> 1);
        u32::from(word & INTEGER == 0)
    }
}

/// What the collections reported.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    swept: usize,
    kept: usize,
    roots: usize,
    contract_breaks: usize,
}

fn run(settings: &Settings, told: bool) -> Found {
    let census = Census::default();
    let registry = std::sync::Arc::default();
    let mut session = Session::with_registry(settings, registry, census.clone()).unwrap();
    let functions: [(_, _, _, RawHostFn); 2] = [
        ("box", ValType::I64, ValType::ExternRef, box_integer),
        ("unbox", ValType::ExternRef, ValType::I64, unbox_integer),
    ];
    for (name, param, result, code) in functions {
        let ty = FuncType::new([param], [result]);
        // SAFETY: each function has one parameter and one result, of these types.
        let func = unsafe { Func::host_raw(session.store(), &ty, code, ()) }.unwrap();
        session.linker().define("small", name, func).unwrap();
    }
    if told {
        let bits = usize::try_from(INTEGER).unwrap();
        let table = &session.store().context().table;
        table.set_immediate_bits(bits).unwrap();
    }
    let found = Rc::new(Cell::new(Found::default()));
    let counted = Rc::clone(&found);
    session
        .store()
        .set_gc_observer(Rc::new(move |report: &GcReport| {
            let mut found = counted.get();
            match report.outcome {
                GcOutcome::Swept => found.swept += 1,
                GcOutcome::KeptContractBreak => found.kept += 1,
                other => panic!("{other:?}"),
            }
            found.roots = found.roots.max(report.roots);
            found.contract_breaks += report.contract_breaks;
            counted.set(found);
        }));
    let compiled = session.compile(&assemble(GUEST).unwrap()).unwrap();
    let instance = session.instantiate(compiled).unwrap();
    let start = instance
        .export("start")
        .and_then(Extern::into_func)
        .unwrap();
    let sum = start.call(session.store(), &[Val::I64(DEPTH)]).unwrap();
    // Each frame's reference, and the integer that it was given.
    let expected = (1..=DEPTH).map(|depth| depth + 1000 * depth).sum::<i64>();
    assert!(
        matches!(sum[..], [Val::I64(sum)] if sum == expected),
        "{sum:?}"
    );
    session.store().gc();
    assert_eq!(census.alive(), 0, "no frame is left");
    session.finish();
    found.get()
}

#[test]
fn integers_in_the_words_of_references_are_passed_over() {
    for &(engine, walker) in WALKS {
        for zeal in [false, true] {
            let run = |stack: Range<usize>| {
                let settings = Settings {
                    engine,
                    zeal,
                    ..Settings::new(walker, stack)
                };
                [true, false].map(|told| run(&settings, told))
            };
            let [told, untold] = on_guest_stack(1 << 20, run).unwrap();
            let frames = usize::try_from(DEPTH + 1).unwrap();
            assert_eq!((told.kept, told.contract_breaks), (0, 0), "{walker}");
            assert!(
                (frames..=frames + 1).contains(&told.roots),
                "{walker} {told:?}"
            );
            assert!(told.swept >= 2 * frames, "{walker} {told:?}");
            assert!(
                untold.kept >= 2 * frames && untold.contract_breaks > untold.kept,
                "a table that was told nothing keeps everything: {walker} {untold:?}"
            );
        }
    }
}
