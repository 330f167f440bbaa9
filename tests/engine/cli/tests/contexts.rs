//! Two stores that call each other on one stack, and collect in each frame; also one that is
//! compiled and one that is interpreted.

use crate::{INTERPRETS, WALKS};
use core::cell::{Cell, OnceCell};
use core::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use vmexternref_core::{GcReport, StackMapRegistry, VMExternRef};
use vmexternref_engine::{EngineKind, Session, Settings, WalkerKind, assemble, on_guest_stack};
use vmexternref_engine_host::{Census, HostKind};
use vmexternref_engine_runtime::{Extern, Func, FuncType, Trap, Val, ValType, WeakStore};

/// How deep the two stores call each other.
const DEPTH: i64 = 10;

/// Holds two references across a call to the other store, and collects before and after it.
pub(crate) const GUEST: &str = r#"(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "other" "down" (func $other (param i64 externref) (result i64)))
  (func (export "down") (param $depth i64) (param $given externref) (result i64)
    (local $mine externref) (local $below i64)
    (local.set $mine (call $new (local.get $depth)))
    (drop (call $new (i64.const -1)))
    (call $gc)
    (if (i64.ne (local.get $depth) (i64.const 0))
      (then
        (local.set $below
          (call $other (i64.sub (local.get $depth) (i64.const 1)) (local.get $mine)))))
    (call $gc)
    (i64.add (local.get $below)
      (i64.add (call $value (local.get $mine)) (call $value (local.get $given))))))"#;

/// The function that a store calls in the other one, known once both exist.
type Door = Rc<OnceCell<(WeakStore, Func)>>;

pub(crate) fn down_type() -> FuncType {
    FuncType::new([ValType::I64, ValType::ExternRef], [ValType::I64])
}

/// A store with the guest in it, whose `other` leads through `door`.
fn context(
    settings: &Settings,
    registry: &Arc<StackMapRegistry>,
    census: &Census,
    door: &Door,
) -> (Session, Func) {
    let mut session =
        Session::with_registry(settings, Arc::clone(registry), census.clone()).unwrap();
    let door = Rc::clone(door);
    let other = session
        .host()
        .func(session.store(), down_type(), move |_, args, results| {
            let (store, down) = door.get().unwrap();
            let store = store.upgrade().unwrap();
            let returned = down.call(&store, args).map_err(Trap::host)?;
            results.clone_from_slice(&returned);
            Ok(())
        });
    session
        .linker()
        .define("other", "down", other.unwrap())
        .unwrap();
    let compiled = session.compile(&assemble(GUEST).unwrap()).unwrap();
    let instance = session.instantiate(compiled).unwrap();
    let down = instance.export("down").and_then(Extern::into_func).unwrap();
    (session, down)
}

/// What the collections of both stores reported.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    contract_breaks: usize,
    foreign_roots: usize,
    kept: usize,
}

/// Runs A → B → A → …, with and without the stores' leave to see each other's references.
fn call_each_other(
    engines: [EngineKind; 2],
    walker: WalkerKind,
    (zeal, allowed): (bool, bool),
    stack: Range<usize>,
) -> Found {
    let settings = engines.map(|engine| Settings {
        engine,
        zeal,
        ..Settings::new(walker, stack.clone())
    });
    let registry = Arc::new(StackMapRegistry::new());
    let census = Census::default();
    let (to_a, to_b) = (Door::default(), Door::default());
    let (a, down_in_a) = context(&settings[0], &registry, &census, &to_b);
    let (b, down_in_b) = context(&settings[1], &registry, &census, &to_a);
    to_a.set((a.store().downgrade(), down_in_a)).unwrap();
    to_b.set((b.store().downgrade(), down_in_b)).unwrap();
    let found = Rc::new(Cell::new(Found::default()));
    for session in [&a, &b] {
        let found = Rc::clone(&found);
        let count = move |report: &GcReport| {
            let before = found.get();
            found.set(Found {
                contract_breaks: before.contract_breaks + report.contract_breaks,
                foreign_roots: before.foreign_roots + report.foreign_roots,
                kept: before.kept + usize::from(!report.swept()),
            });
        };
        session.store().set_gc_observer(Rc::new(count));
        session.store().allow_foreign_roots(allowed);
    }
    let null = Val::ExternRef(None);
    let refused = down_in_a.call(a.store(), &[Val::I64(0), null]);
    assert!(refused.is_err(), "the value of null");
    let object = census.object(HostKind::Value(0));
    let given = Val::ExternRef(Some(VMExternRef::new(object)));
    let sum = down_in_a
        .call(a.store(), &[Val::I64(DEPTH), given])
        .unwrap();
    // 0 + … + 10 of the frames' own references, and 1 + … + 10 of those that they were given.
    assert!(matches!(sum[..], [Val::I64(110)]), "{sum:?}");
    // No frame is left, so nothing is alive but what the other store's collections could not
    // decide.
    a.store().gc();
    b.store().gc();
    assert_eq!(census.alive(), 0, "after the last collection");
    assert_eq!((a.finish(), b.finish()), (0, 0));
    found.get()
}

#[test]
fn stores_that_call_each_other_free_nothing_of_the_other_one() {
    let same = WALKS
        .iter()
        .map(|&(engine, walker)| ([engine, engine], walker));
    let mixed = (EngineKind::ALL, WalkerKind::Activations);
    let mixed = INTERPRETS.then_some(mixed);
    for (engines, walker) in same.chain(mixed) {
        for zeal in [false, true] {
            for allowed in [false, true] {
                let run = |stack| call_each_other(engines, walker, (zeal, allowed), stack);
                let found = on_guest_stack(1 << 20, run).unwrap();
                let (breaks, foreign) = (found.contract_breaks, found.foreign_roots);
                // Without verification a walk ends at the oldest canary of its own store.
                let sees_others = walker != WalkerKind::Activations && cfg!(debug_assertions);
                match (sees_others, allowed) {
                    (false, _) => {
                        assert_eq!((breaks, foreign), (0, 0), "sees its own frames only");
                        assert_eq!(found.kept, 0);
                    }
                    (_, true) => {
                        assert!(breaks == 0 && foreign > 0, "{walker:?} {found:?}");
                        assert_eq!(found.kept, 0);
                    }
                    (_, false) => assert!(breaks > 0 && found.kept > 0, "{walker:?} {found:?}"),
                }
            }
        }
    }
}

/// A call has no canary where the walker needs none. A walker that needs it, and is set meanwhile,
/// would take the canary of a younger call for the oldest.
#[test]
fn a_walker_that_is_set_during_a_call_waits_for_its_end() {
    const GUEST: &str = r#"(module
      (import "host" "new" (func $new (param i64) (result externref)))
      (import "host" "value" (func $value (param externref) (result i64)))
      (import "host" "gc" (func $gc))
      (import "test" "switch" (func $switch))
      (func (export "collect") (call $gc))
      (func (export "main") (result i64)
        (local $mine externref)
        (local.set $mine (call $new (i64.const 7)))
        (call $switch)
        (call $value (local.get $mine))))"#;
    let value = on_guest_stack(1 << 20, |stack| {
        let settings = Settings::new(WalkerKind::Activations, stack.clone());
        let mut session = Session::new(&settings).unwrap();
        // A table that verifies would walk on, and find the older call.
        session.store().context().table.set_verification(false);
        let collect = Rc::new(OnceCell::<Func>::new());
        let later = Rc::clone(&collect);
        let weak = session.store().downgrade();
        let ty = FuncType::new([], []);
        let switch = Func::host(session.store(), ty, move |_, _, _| {
            let store = weak.upgrade().unwrap();
            let walker = WalkerKind::Backtrace.build(&store, stack.clone()).unwrap();
            store.set_walker(walker);
            let collect = later.get().unwrap();
            collect.call(&store, &[]).map_err(Trap::host)?;
            Ok(())
        });
        session
            .linker()
            .define("test", "switch", switch.unwrap())
            .unwrap();
        let compiled = session.compile(&assemble(GUEST).unwrap()).unwrap();
        let instance = session.instantiate(compiled).unwrap();
        let func = |name| instance.export(name).and_then(Extern::into_func).unwrap();
        collect.set(func("collect")).unwrap();
        let results = func("main").call(session.store(), &[]).unwrap();
        let [Val::I64(value)] = results[..] else {
            panic!("{results:?}");
        };
        value
    });
    assert_eq!(value.unwrap(), 7);
}
