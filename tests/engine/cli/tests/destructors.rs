//! Destructors that misbehave, in every place where one can run.

use core::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use vmexternref_core::VMExternRef;
use vmexternref_engine::{Session, Settings, WalkerKind, assemble, on_guest_stack};
use vmexternref_engine_runtime::{
    Extern, Func, FuncType, Global, Instance, Store, Table, Val, ValType, WeakStore,
};

/// Each export makes objects, and then lets go of them in one place of the engine.
const PLACES: &str = r#"(module
  (import "test" "make" (func $make (result externref)))
  (import "test" "see" (func $see (param externref)))
  (import "host" "gc" (func $gc))
  (table $t (export "table") 4 1000 externref)
  (table $other 4 externref)
  (table $funcs 1 funcref)
  (global $g (export "global") (mut externref) (ref.null extern))
  (elem $nulls externref (ref.null extern) (ref.null extern) (ref.null extern) (ref.null extern))
  (elem (table $funcs) (i32.const 0) func $leave)
  (func $fill
    (table.set $t (i32.const 0) (call $make))
    (table.set $t (i32.const 1) (call $make))
    (table.set $t (i32.const 2) (table.get $t (i32.const 1)))
    (table.set $t (i32.const 3) (call $make))
    (call $gc))
  (func $leave (param externref) (call $see (local.get 0)))
  ;; What destructors call: it stores, loads, collects and lets go.
  (func (export "again") (param $own externref) (local $kept externref)
    (local.set $kept (call $make))
    (global.set $g (local.get $kept))
    (table.set $t (i32.const 1) (local.get $kept))
    (drop (table.grow $t (ref.null extern) (i32.const 1)))
    (call $gc)
    (global.set $g (ref.null extern))
    (table.set $t (i32.const 1) (ref.null extern))
    (call $see (local.get $kept)))
  (func (export "traps") unreachable)
  (func (export "table.set") (local $mine externref)
    (local.set $mine (call $make))
    (call $fill)
    (table.set $t (i32.const 0) (ref.null extern))
    (table.set $t (i32.const 1) (local.get $mine))
    (table.set $t (i32.const 3) (ref.null extern))
    (call $see (local.get $mine)))
  (func (export "global.set") (local $mine externref)
    (local.set $mine (call $make))
    (global.set $g (call $make))
    (call $gc)
    (global.set $g (local.get $mine))
    (global.set $g (ref.null extern))
    (call $see (local.get $mine)))
  (func (export "table.fill") (local $mine externref)
    (local.set $mine (call $make))
    (call $fill)
    (table.fill $t (i32.const 0) (local.get $mine) (i32.const 4))
    (table.fill $t (i32.const 0) (ref.null extern) (i32.const 4))
    (call $see (local.get $mine)))
  (func (export "table.copy") (local $mine externref)
    (local.set $mine (call $make))
    (call $fill)
    (table.copy $t $other (i32.const 0) (i32.const 0) (i32.const 4))
    (call $fill)
    (table.copy $t $t (i32.const 1) (i32.const 0) (i32.const 3))
    (call $see (local.get $mine)))
  (func (export "table.init") (local $mine externref)
    (local.set $mine (call $make))
    (call $fill)
    (table.init $t $nulls (i32.const 0) (i32.const 0) (i32.const 4))
    (elem.drop $nulls)
    (call $see (local.get $mine)))
  (func (export "collection") (local $mine externref)
    (local.set $mine (call $make))
    (drop (call $make))
    (drop (call $make))
    (call $gc)
    (call $see (local.get $mine)))
  (func (export "insertion") (local $mine externref) (local $count i32)
    (local.set $mine (call $make))
    (local.set $count (i32.const 1200))
    (loop $more
      (drop (call $make))
      (br_if $more (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (call $see (local.get $mine)))
  (func (export "insertion by compiled code") (local $mine externref) (local $count i32)
    (local.set $mine (call $make))
    (local.set $count (i32.const 1200))
    (drop (call $make))
    (loop $more
      (table.set $t (i32.const 0) (local.get $mine))
      (call_indirect $funcs (param externref) (table.get $t (i32.const 0)) (i32.const 0))
      (br_if $more (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (table.set $t (i32.const 0) (ref.null extern))
    (call $see (local.get $mine)))
  (func (export "arguments of a call") (local $mine externref)
    (local.set $mine (call $make))
    (call $see (call $make))
    (call $leave (call $make))
    (call $gc)
    (call $see (local.get $mine))))"#;

/// How a destructor misbehaves.
#[derive(Clone, Copy, Debug)]
enum Misdeed {
    /// It collects, twice.
    Collect,
    /// It inserts an object into the activations table, and makes room for more.
    Insert,
    /// It calls the guest, which stores, loads and collects.
    CallWasm,
    /// It calls a function of the guest that traps.
    Trap,
    /// It stores objects where its own was, and grows the table.
    Store,
    /// It makes an object that does the same, and drops it.
    Again,
    /// It panics, and catches that before compiled frames.
    Panic,
    /// It lets go of the host's handle of the store.
    DropStore,
    /// It drops a long chain of objects.
    RunLong,
}

const MISDEEDS: [Misdeed; 9] = [
    Misdeed::Collect,
    Misdeed::Insert,
    Misdeed::CallWasm,
    Misdeed::Trap,
    Misdeed::Store,
    Misdeed::Again,
    Misdeed::Panic,
    Misdeed::DropStore,
    Misdeed::RunLong,
];

/// What destructors find.
#[derive(Default)]
struct World {
    /// The number of objects that are alive.
    alive: Cell<usize>,
    /// The number of destructors that have run.
    dead: Cell<usize>,
    /// The number of destructors that are running.
    running: Cell<usize>,
    store: RefCell<Option<WeakStore>>,
    /// A handle that somebody may take.
    handle: RefCell<Option<Store>>,
    items: RefCell<Option<Items>>,
    misdeed: Cell<Option<Misdeed>>,
}

#[derive(Clone)]
struct Items {
    again: Func,
    traps: Func,
    table: Table,
    global: Global,
}

struct Object {
    world: Rc<World>,
    _next: Option<VMExternRef>,
}

impl Object {
    fn make(world: &Rc<World>, next: Option<VMExternRef>) -> VMExternRef {
        world.alive.set(world.alive.get() + 1);
        VMExternRef::new(Self {
            world: Rc::clone(world),
            _next: next,
        })
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let world = &self.world;
        world.alive.set(world.alive.get() - 1);
        world.dead.set(world.dead.get() + 1);
        // A misdeed makes and drops objects. These behave, or it would never end.
        if world.running.get() >= 2 {
            return;
        }
        world.running.set(world.running.get() + 1);
        let store = world.store.borrow().as_ref().and_then(WeakStore::upgrade);
        let caught = catch_unwind(AssertUnwindSafe(|| misbehave(world, store.as_ref())));
        world.running.set(world.running.get() - 1);
        let panics = matches!(world.misdeed.get(), Some(Misdeed::Panic));
        assert_eq!(caught.is_err(), panics, "only one misdeed is a panic");
    }
}

fn misbehave(world: &Rc<World>, store: Option<&Store>) {
    let Some(misdeed) = world.misdeed.get() else {
        return;
    };
    match misdeed {
        Misdeed::Panic => std::panic::resume_unwind(Box::new("a destructor")),
        Misdeed::Again => drop(Object::make(world, None)),
        Misdeed::RunLong => {
            let chain = (0..100).fold(None, |next, _| Some(Object::make(world, next)));
            drop(chain);
        }
        Misdeed::DropStore => drop(world.handle.take()),
        _ => {}
    }
    // A store that is going runs nothing any more.
    let (Some(store), Some(items)) = (store, world.items.borrow().clone()) else {
        return;
    };
    let object = || Val::ExternRef(Some(Object::make(world, None)));
    match misdeed {
        Misdeed::Collect => {
            store.gc();
            drop(store.collect());
        }
        Misdeed::Insert => {
            for _ in 0..20 {
                store.insert(Object::make(world, None)).unwrap();
            }
            store.reserve(600).unwrap();
        }
        Misdeed::CallWasm => {
            items.again.call(store, &[object()]).unwrap();
        }
        Misdeed::Trap => {
            let trap = items.traps.call(store, &[]).unwrap_err();
            assert_eq!(trap.to_string(), "unreachable");
        }
        Misdeed::Store => {
            for index in 0..4 {
                items.table.set(store, index, &object()).unwrap();
                items
                    .table
                    .set(store, index, &Val::ExternRef(None))
                    .unwrap();
            }
            items.global.set(store, &object()).unwrap();
            items.global.set(store, &Val::ExternRef(None)).unwrap();
            // At its maximum it stays as it is.
            let _ = items.table.grow(store, 1, &Val::ExternRef(None));
        }
        _ => {}
    }
}

/// A session with the guest, whose objects know the world.
fn session(
    walker: WalkerKind,
    stack: core::ops::Range<usize>,
    world: &Rc<World>,
) -> (Session, Instance) {
    let mut session = Session::new(&Settings::new(walker, stack)).unwrap();
    let store = session.store().clone();
    let weak = Rc::downgrade(world);
    let ty = FuncType::new([], [ValType::ExternRef]);
    let make = Func::host(&store, ty, move |_, _, results| {
        let world = weak.upgrade().expect("it outlives the store");
        results[0] = Val::ExternRef(Some(Object::make(&world, None)));
        Ok(())
    });
    let ty = FuncType::new([ValType::ExternRef], []);
    let see = Func::host(&store, ty, |_, args, _| {
        let [Val::ExternRef(Some(object))] = args else {
            panic!("{args:?} is no object");
        };
        assert!(object.downcast_ref::<Object>().is_some(), "it is alive");
        Ok(())
    });
    session
        .linker()
        .define("test", "make", make.unwrap())
        .unwrap();
    session
        .linker()
        .define("test", "see", see.unwrap())
        .unwrap();
    let compiled = session.compile(&assemble(PLACES).unwrap()).unwrap();
    let instance = session.instantiate(compiled).unwrap();
    let func = |name| instance.export(name).and_then(Extern::into_func).unwrap();
    *world.items.borrow_mut() = Some(Items {
        again: func("again"),
        traps: func("traps"),
        table: instance
            .export("table")
            .and_then(Extern::into_table)
            .unwrap(),
        global: instance
            .export("global")
            .and_then(Extern::into_global)
            .unwrap(),
    });
    *world.store.borrow_mut() = Some(store.downgrade());
    (session, instance)
}

/// The exports that let go of objects.
fn places(instance: &Instance) -> Vec<(String, Func)> {
    let funcs = instance.exports().filter_map(|(name, item)| match item {
        Extern::Func(func) => Some((name.to_owned(), func)),
        _ => None,
    });
    funcs
        .filter(|(name, _)| !["again", "traps"].contains(&name.as_str()))
        .collect()
}

fn every_place(walker: WalkerKind) {
    for misdeed in MISDEEDS {
        on_guest_stack(2 << 20, |stack| {
            let world = Rc::new(World::default());
            let (session, instance) = session(walker, stack, &world);
            world.misdeed.set(Some(misdeed));
            let places = places(&instance);
            assert!(places.len() >= 9, "{}", places.len());
            for (place, func) in places {
                let before = world.dead.get();
                *world.handle.borrow_mut() = Some(session.store().clone());
                func.call(session.store(), &[])
                    .unwrap_or_else(|error| panic!("{misdeed:?} at {place}: {error}"));
                assert!(world.dead.get() > before, "{misdeed:?} at {place}");
                // Afterwards everything works, and nothing is left.
                world.misdeed.set(None);
                let items = world.items.borrow().clone().unwrap();
                for index in 0..4 {
                    let null = Val::ExternRef(None);
                    items.table.set(session.store(), index, &null).unwrap();
                }
                session.store().gc();
                assert_eq!(world.alive.get(), 0, "{misdeed:?} at {place}");
                world.misdeed.set(Some(misdeed));
            }
        })
        .unwrap();
    }
}

#[test]
fn in_compiled_code_with_activations() {
    every_place(WalkerKind::Activations);
}

#[test]
fn in_compiled_code_with_backtrace() {
    every_place(WalkerKind::Backtrace);
}

/// What the host does lets go of objects, too: each of these, with every misdeed.
#[test]
fn in_calls_of_the_host() {
    type Deed = fn(&Session, &Rc<World>, &Items);
    let deeds: [(&str, Deed); 6] = [
        ("table.set", |session, world, items| {
            let object = Val::ExternRef(Some(Object::make(world, None)));
            items.table.set(session.store(), 2, &object).unwrap();
            drop(object);
            items
                .table
                .set(session.store(), 2, &Val::ExternRef(None))
                .unwrap();
        }),
        ("global.set", |session, world, items| {
            let object = Val::ExternRef(Some(Object::make(world, None)));
            items.global.set(session.store(), &object).unwrap();
            drop(object);
            items
                .global
                .set(session.store(), &Val::ExternRef(None))
                .unwrap();
        }),
        ("gc", |session, world, _| {
            session.store().insert(Object::make(world, None)).unwrap();
            session.store().gc();
        }),
        ("garbage", |session, world, _| {
            session.store().insert(Object::make(world, None)).unwrap();
            let (_, garbage) = session.store().collect();
            drop(garbage);
        }),
        ("handle", |_, world, _| drop(Object::make(world, None))),
        ("reserve", |session, world, _| {
            for _ in 0..600 {
                session.store().insert(Object::make(world, None)).unwrap();
            }
            session.store().reserve(5000).unwrap();
        }),
    ];
    for misdeed in MISDEEDS {
        on_guest_stack(2 << 20, |stack| {
            let world = Rc::new(World::default());
            let (session, _instance) = session(WalkerKind::Activations, stack, &world);
            let items = world.items.borrow().clone().unwrap();
            for (name, deed) in deeds {
                world.misdeed.set(Some(misdeed));
                *world.handle.borrow_mut() = Some(session.store().clone());
                let before = world.dead.get();
                deed(&session, &world, &items);
                assert!(world.dead.get() > before, "{misdeed:?} at {name}");
                world.misdeed.set(None);
                session.store().gc();
                assert_eq!(world.alive.get(), 0, "{misdeed:?} at {name}");
            }
        })
        .unwrap();
    }
}

/// The last handle of a store goes while objects are in its tables, globals and activations table.
#[test]
fn when_the_store_goes() {
    for misdeed in MISDEEDS {
        on_guest_stack(2 << 20, |stack| {
            let world = Rc::new(World::default());
            let (session, instance) = session(WalkerKind::Activations, stack, &world);
            let items = world.items.borrow().clone().unwrap();
            let store = session.store().clone();
            for index in 0..3 {
                let object = Val::ExternRef(Some(Object::make(&world, None)));
                items.table.set(&store, index, &object).unwrap();
            }
            let object = Val::ExternRef(Some(Object::make(&world, None)));
            items.global.set(&store, &object).unwrap();
            store.insert(Object::make(&world, None)).unwrap();
            drop((object, instance));
            world.misdeed.set(Some(misdeed));
            drop(session);
            assert_eq!(world.alive.get(), 5, "{misdeed:?}");
            drop(store);
            assert_eq!(world.alive.get(), 0, "{misdeed:?}");
        })
        .unwrap();
    }
}

/// A destructor that panics in a collection of the host, above no compiled frame, unwinds to it.
#[test]
fn a_panic_that_nobody_catches_reaches_the_host() {
    struct Panics(Rc<Cell<usize>>);
    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            std::panic::resume_unwind(Box::new("a destructor"));
        }
    }
    on_guest_stack(1 << 20, |stack| {
        let dead = Rc::new(Cell::new(0));
        let world = Rc::new(World::default());
        let (session, instance) = session(WalkerKind::Activations, stack, &world);
        let items = world.items.borrow().clone().unwrap();
        let store = session.store();
        let object = || Val::ExternRef(Some(VMExternRef::new(Panics(Rc::clone(&dead)))));
        items.table.set(store, 0, &object()).unwrap();
        let null = Val::ExternRef(None);
        let set = || items.table.set(store, 0, &null);
        assert!(catch_unwind(AssertUnwindSafe(set)).is_err());
        assert_eq!(dead.get(), 1);
        for count in 2..4 {
            store
                .insert(VMExternRef::new(Panics(Rc::clone(&dead))))
                .unwrap();
            assert!(catch_unwind(AssertUnwindSafe(|| store.gc())).is_err());
            assert_eq!(dead.get(), count);
        }
        // Afterwards everything works.
        for (place, func) in places(&instance) {
            func.call(store, &[])
                .unwrap_or_else(|error| panic!("{place}: {error}"));
        }
    })
    .unwrap();
}
