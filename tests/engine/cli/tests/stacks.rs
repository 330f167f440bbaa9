//! Guests that are suspended inside a host call, on stacks of their own.

use crate::WALKS;
use crate::contexts::{self, down_type};
use core::cell::{Cell, OnceCell, RefCell};
use core::ops::Range;
use core::ptr::{self, NonNull};
use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, Yielder};
use std::rc::Rc;
use std::sync::Arc;
use vmexternref_core::{GcOutcome, StackMapRegistry, VMExternRef};
use vmexternref_engine::{EngineKind, Session, Settings, WalkerKind, assemble, on_guest_stack};
use vmexternref_engine_host::{Census, HostKind};
use vmexternref_engine_runtime::{
    CallError, Extern, Func, FuncType, GuestStack, Store, Trap, TrapCode, Val,
};

/// Bytes in the stack of a coroutine, and those of them that Wasm leaves to the host.
const STACK: usize = 1 << 20;
const HOST_SHARE: usize = 512 << 10;

const GUEST: &str = r#"(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "test" "wait" (func $wait))
  (import "test" "resume" (func $resume))
  ;; Holds a reference in each of `depth` + 1 frames while it waits, and drops one more in each.
  (func $hold (export "hold") (param $depth i64) (result i64)
    (local $mine externref) (local $below i64)
    (local.set $mine (call $new (local.get $depth)))
    (drop (call $new (i64.const -1)))
    (if (i64.eqz (local.get $depth))
      (then (call $wait))
      (else (local.set $below (call $hold (i64.sub (local.get $depth) (i64.const 1))))))
    (i64.add (local.get $below) (call $value (local.get $mine))))
  ;; Makes garbage, and collects, while it holds a reference.
  (func $churn (export "churn") (result i64)
    (local $mine externref) (local $left i64)
    (local.set $left (i64.const 20))
    (local.set $mine (call $new (i64.const 7)))
    (loop $again
      (drop (call $new (i64.const -2)))
      (call $gc)
      (br_if $again (i64.ne (i64.const 0)
        (local.tee $left (i64.sub (local.get $left) (i64.const 1))))))
    (call $value (local.get $mine)))
  ;; Churns, waits, and churns again.
  (func (export "churn_twice") (result i64)
    (local $mine externref)
    (local.set $mine (call $new (i64.const 100)))
    (drop (call $churn))
    (call $wait)
    (i64.add (call $churn) (call $value (local.get $mine))))
  ;; Lets the host resume another guest, and traps afterwards, at a handler of another type.
  (func (export "resume_and_trap") (param f64 f64 f64 f64) (result i64)
    (local $mine externref)
    (local.set $mine (call $new (i64.const 1)))
    (call $resume)
    (drop (call $value (local.get $mine)))
    (unreachable))
  (func $endless (export "endless") (result i64)
    (i64.add (i64.const 1) (call $endless))))"#;

/// What a coroutine is told when it goes on.
#[derive(Clone, Copy)]
enum Signal {
    Go,
    Cancel,
}

/// A place for the coroutine that runs, if one does.
type Running = Rc<Cell<Option<NonNull<Yielder<Signal, ()>>>>>;

/// A coroutine, whose stack its store knows.
struct Task<R> {
    /// Goes before the memory of the stack does.
    known: GuestStack,
    coroutine: Coroutine<Signal, (), R>,
    itself: Running,
    running: Running,
}

impl<R: 'static> Task<R> {
    fn new(store: &Store, running: &Running, body: impl FnOnce() -> R + 'static) -> Self {
        let stack = DefaultStack::new(STACK).unwrap();
        let bounds = stack.limit().get()..stack.base().get();
        let known = store.add_stack(bounds, HOST_SHARE).unwrap();
        let (itself, running) = (Running::default(), Rc::clone(running));
        let places = [Rc::clone(&itself), Rc::clone(&running)];
        let coroutine = Coroutine::with_stack(stack, move |yielder: &_, _| {
            for place in places {
                place.set(Some(NonNull::from(yielder)));
            }
            body()
        });
        Self {
            known,
            coroutine,
            itself,
            running,
        }
    }

    /// Goes on until the coroutine waits, or ends with a result.
    fn resume(&mut self, signal: Signal) -> Option<R> {
        let before = self.running.replace(self.itself.get());
        // SAFETY: the coroutine runs on the stack that the store was told, comes back here, and
        // goes on here only; each walker that says `Complete` is the store's.
        let outcome = unsafe { self.known.run(|| self.coroutine.resume(signal)) };
        self.running.set(before);
        outcome.as_return()
    }

    /// Frees the stack as it is.
    fn throw_away(mut self) {
        drop(self.known);
        // SAFETY: the store does not know the stack any more, and nothing points into it.
        unsafe { self.coroutine.force_reset() };
    }
}

/// A session with the guest in it.
struct Guests {
    session: Session,
    running: Running,
    functions: Vec<(&'static str, Func)>,
    /// What `resume` of the guest resumes.
    next: Rc<RefCell<Option<Task<Outcome>>>>,
    outcomes: Rc<RefCell<Vec<GcOutcome>>>,
}

type Outcome = Result<i64, CallError>;

fn call(store: &Store, func: &Func, args: &[Val]) -> Outcome {
    match func.call(store, args)?[..] {
        [Val::I64(number)] => Ok(number),
        ref others => panic!("{others:?} is not one number"),
    }
}

impl Guests {
    fn new(settings: &Settings) -> Self {
        let mut session = Session::new(settings).unwrap();
        let running = Running::default();
        let nullary = FuncType::new([], []);
        let this = Rc::clone(&running);
        let wait = session
            .host()
            .func(session.store(), nullary.clone(), move |_, _, _| {
                let yielder = this.get().expect("a coroutine waits");
                // SAFETY: the coroutine runs that set its yielder, so it is there still.
                match unsafe { yielder.as_ref() }.suspend(()) {
                    Signal::Go => Ok(()),
                    Signal::Cancel => Err(Trap::host("cancelled")),
                }
            });
        session
            .linker()
            .define("test", "wait", wait.unwrap())
            .unwrap();
        let next = Rc::<RefCell<Option<Task<Outcome>>>>::default();
        let other = Rc::clone(&next);
        let resume = session
            .host()
            .func(session.store(), nullary, move |_, _, _| {
                let mut task = other.take().expect("there is a task");
                match task.resume(Signal::Go) {
                    Some(ended) => drop(ended.unwrap()),
                    None => drop(other.replace(Some(task))),
                }
                Ok(())
            });
        session
            .linker()
            .define("test", "resume", resume.unwrap())
            .unwrap();
        let compiled = session.compile(&assemble(GUEST).unwrap()).unwrap();
        let instance = session.instantiate(compiled).unwrap();
        let names = ["hold", "churn", "churn_twice", "resume_and_trap", "endless"];
        let functions = names.map(|name| {
            let func = instance.export(name).and_then(Extern::into_func);
            (name, func.unwrap())
        });
        let outcomes = Rc::<RefCell<Vec<GcOutcome>>>::default();
        let seen = Rc::clone(&outcomes);
        session.store().set_gc_observer(Rc::new(move |report| {
            assert_eq!(report.contract_breaks, 0, "{report}");
            seen.borrow_mut().push(report.outcome);
        }));
        Self {
            session,
            running,
            functions: functions.into(),
            next,
            outcomes,
        }
    }

    fn func(&self, name: &str) -> Func {
        let mut functions = self.functions.iter();
        functions.find(|(of, _)| *of == name).unwrap().1
    }

    /// Calls a function on the running stack.
    fn call(&self, name: &str) -> Outcome {
        call(self.session.store(), &self.func(name), &[])
    }

    fn resume_and_trap(&self) {
        let args = [const { Val::F64(0) }; 4];
        let outcome = call(self.session.store(), &self.func("resume_and_trap"), &args);
        assert!(matches!(
            outcome.unwrap_err(),
            CallError::Trap(trap) if trap.code == TrapCode::Unreachable
        ));
    }

    /// A coroutine that is going to call a function.
    fn task(&self, name: &str, args: &'static [Val]) -> Task<Outcome> {
        let (store, func) = (ptr::from_ref(self.session.store()), self.func(name));
        // No handle of the store may be on a stack that is thrown away.
        Task::new(self.session.store(), &self.running, move || {
            // SAFETY: the session outlives its tasks, and does not move while there are any.
            call(unsafe { &*store }, &func, args)
        })
    }

    /// A coroutine that holds `DEPTH` + 1 references and waits.
    fn waiting(&self) -> Task<Outcome> {
        let mut task = self.task("hold", &[Val::I64(DEPTH)]);
        assert!(task.resume(Signal::Go).is_none() && task.known.is_suspended());
        task
    }

    fn alive(&self) -> u64 {
        self.session.census().alive()
    }

    /// The outcomes of collections since the last time.
    fn outcomes(&self) -> Vec<GcOutcome> {
        self.outcomes.take()
    }

    fn finish(self) {
        self.session.store().gc();
        assert_eq!(self.alive(), 0, "no call is left");
        assert_eq!(self.session.finish(), 0);
    }
}

/// How deep a waiting guest stands.
const DEPTH: i64 = 5;
const HELD: u64 = 6;
/// The sum of the values that it holds.
const SUM: i64 = 15;

/// Runs `test` with each engine and each of its walkers, with and without zeal and verification.
fn with_each_walker(test: impl Fn(WalkerKind, &Settings) + Sync) {
    for &(engine, walker) in WALKS {
        for (zeal, verification) in [(false, true), (true, true), (false, false)] {
            let run = |stack: Range<usize>| {
                let settings = Settings {
                    engine,
                    zeal,
                    verification,
                    ..Settings::new(walker, stack)
                };
                test(walker, &settings);
            };
            on_guest_stack(1 << 20, run).unwrap();
        }
    }
}

/// Asserts that collections swept, or kept everything because of the stacks that they did not see.
fn assert_outcomes(outcomes: &[GcOutcome], swept: bool) {
    assert!(!outcomes.is_empty());
    let expected = if swept {
        GcOutcome::Swept
    } else {
        GcOutcome::KeptUncovered
    };
    assert!(
        outcomes.iter().all(|outcome| *outcome == expected),
        "expected {expected:?}, found {outcomes:?}"
    );
}

#[test]
fn suspended_guests_find_their_references_alive() {
    with_each_walker(|walker, settings| {
        let sees_all = walker == WalkerKind::Activations;
        let guests = Guests::new(settings);
        let mut tasks = [guests.waiting(), guests.waiting(), guests.waiting()];
        guests.outcomes();
        // On the thread's stack, and on a fourth one.
        assert_eq!(guests.call("churn").unwrap(), 7);
        let mut fourth = guests.task("churn_twice", &[]);
        assert!(fourth.resume(Signal::Go).is_none());
        assert_outcomes(&guests.outcomes(), sees_all);
        if sees_all {
            guests.session.store().gc();
            assert_eq!(guests.alive(), 3 * HELD + 1, "and no more");
        } else {
            assert!(guests.alive() > 3 * HELD + 40, "everything is kept");
        }
        // In another order than they began in.
        for index in [1, 2, 0] {
            let sum = tasks[index].resume(Signal::Go).expect("it ends");
            assert_eq!(sum.unwrap(), SUM);
            assert!(!tasks[index].known.is_suspended());
        }
        assert_eq!(fourth.resume(Signal::Go).unwrap().unwrap(), 107);
        drop((tasks, fourth));
        guests.finish();
    });
}

/// Walkers that show frames of several stacks, one after the other, pass no canary of a third one.
#[test]
fn a_guest_that_another_one_resumed_frees_nothing_of_a_third() {
    with_each_walker(|walker, settings| {
        // The stack of the guest that waits lies below that of the one that collects, or above it.
        for waiting_first in [true, false] {
            let guests = Guests::new(settings);
            let waiting = || guests.task("hold", &[Val::I64(DEPTH)]);
            let collecting = || guests.task("churn_twice", &[]);
            let (mut waiting, collecting) = if waiting_first {
                (waiting(), collecting())
            } else {
                let collecting = collecting();
                (waiting(), collecting)
            };
            assert!(waiting.resume(Signal::Go).is_none());
            guests.next.replace(Some(collecting));
            guests.outcomes();
            guests.resume_and_trap();
            assert_outcomes(&guests.outcomes(), walker == WalkerKind::Activations);
            let mut collecting = guests.next.take().unwrap();
            assert_eq!(collecting.resume(Signal::Go).unwrap().unwrap(), 107);
            assert_eq!(waiting.resume(Signal::Go).unwrap().unwrap(), SUM);
            drop((waiting, collecting));
            guests.finish();
        }
    });
}

/// The unwinder and the activation records see the stack that resumed the running one, too.
#[test]
fn a_guest_that_another_one_resumed_can_collect() {
    with_each_walker(|walker, settings| {
        let guests = Guests::new(settings);
        guests.next.replace(Some(guests.task("churn", &[])));
        guests.resume_and_trap();
        let outcomes = guests.outcomes();
        match walker {
            WalkerKind::CurrentFrame => assert!(outcomes.contains(&GcOutcome::KeptUncovered)),
            WalkerKind::Activations | WalkerKind::Backtrace => assert_outcomes(&outcomes, true),
        }
        guests.finish();
    });
}

#[test]
fn a_cancelled_guest_releases_its_references() {
    with_each_walker(|_, settings| {
        let guests = Guests::new(settings);
        let (mut cancelled, mut other) = (guests.waiting(), guests.waiting());
        let trapped = cancelled.resume(Signal::Cancel).expect("it ends");
        assert_eq!(trapped.unwrap_err().to_string(), "cancelled");
        drop(cancelled);
        guests.session.store().gc();
        if settings.walker == WalkerKind::Activations {
            assert_eq!(guests.alive(), HELD);
        }
        assert_eq!(other.resume(Signal::Go).unwrap().unwrap(), SUM);
        drop(other);
        guests.finish();
    });
}

#[test]
fn a_stack_that_is_thrown_away_releases_the_references_of_its_frames() {
    with_each_walker(|_, settings| {
        let guests = Guests::new(settings);
        let (gone, mut other) = (guests.waiting(), guests.waiting());
        gone.throw_away();
        assert_eq!(guests.call("churn").unwrap(), 7);
        guests.session.store().gc();
        if settings.walker == WalkerKind::Activations {
            assert_eq!(guests.alive(), HELD);
        }
        assert_eq!(other.resume(Signal::Go).unwrap().unwrap(), SUM);
        // Its canary is no more: every walker proves again that it saw all.
        guests.outcomes();
        assert_eq!(guests.call("churn").unwrap(), 7);
        assert_outcomes(&guests.outcomes(), true);
        drop(other);
        guests.finish();
    });
}

#[test]
fn each_stack_has_a_limit_of_its_own() {
    EngineKind::ALL.into_iter().for_each(limits_of_stacks);
}

fn limits_of_stacks(engine: EngineKind) {
    on_guest_stack(1 << 20, |stack| {
        let settings = Settings {
            engine,
            ..Settings::new(WalkerKind::Activations, stack)
        };
        let guests = Guests::new(&settings);
        let overflows = |outcome: Outcome| {
            assert!(matches!(
                outcome.unwrap_err(),
                CallError::Trap(trap) if trap.code == TrapCode::StackOverflow
            ));
        };
        let mut other = guests.waiting();
        overflows(guests.task("endless", &[]).resume(Signal::Go).unwrap());
        overflows(guests.call("endless"));
        assert_eq!(other.resume(Signal::Go).unwrap().unwrap(), SUM);
        overflows(guests.task("endless", &[]).resume(Signal::Go).unwrap());
        drop(other);
        guests.finish();
    })
    .unwrap();
}

#[test]
fn a_stack_that_runs_is_not_run_again() {
    on_guest_stack(1 << 20, |stack| {
        let guests = Guests::new(&Settings::new(WalkerKind::Activations, stack));
        let task = guests.task("churn", &[]);
        // SAFETY: no stack is switched to, and no Wasm runs meanwhile.
        unsafe {
            task.known.run(|| {
                let again = std::panic::AssertUnwindSafe(|| task.known.run(|| ()));
                assert!(std::panic::catch_unwind(again).is_err());
            });
            task.known.run(|| ());
        }
        drop(task);
        guests.finish();
    })
    .unwrap();
}

/// How deep the two stores of the last test call each other.
const CALLS: i64 = 8;

/// A function of a store, known once both stores exist.
type Door = Rc<OnceCell<(*const Store, Func)>>;

/// A store whose `other.down` calls through `door` on a new stack.
fn caller(
    settings: &Settings,
    registry: &Arc<StackMapRegistry>,
    census: &Census,
    door: &Door,
) -> (Box<Session>, Func) {
    let mut session =
        Session::with_registry(settings, Arc::clone(registry), census.clone()).unwrap();
    let (door, running) = (Rc::clone(door), Running::default());
    let other = session
        .host()
        .func(session.store(), down_type(), move |_, args, results| {
            let &(store, down) = door.get().unwrap();
            // SAFETY: both sessions outlive their calls, and are boxed.
            let store = unsafe { &*store };
            let args = args.to_vec();
            let body = move || call(store, &down, &args);
            let mut task = Task::new(store, &running, body);
            let sum = task.resume(Signal::Go).expect("it does not wait");
            results[0] = Val::I64(sum.map_err(Trap::host)?);
            Ok(())
        });
    session
        .linker()
        .define("other", "down", other.unwrap())
        .unwrap();
    session.store().allow_foreign_roots(true);
    let compiled = session
        .compile(&assemble(contexts::GUEST).unwrap())
        .unwrap();
    let instance = session.instantiate(compiled).unwrap();
    let down = instance.export("down").and_then(Extern::into_func).unwrap();
    (Box::new(session), down)
}

/// A → B → A → …, each call on a stack of its own.
#[test]
fn stores_call_each_other_across_stacks() {
    with_each_walker(|walker, settings| {
        let registry = Arc::new(StackMapRegistry::new());
        let census = Census::default();
        let (to_a, to_b) = (Door::default(), Door::default());
        let (a, down_in_a) = caller(settings, &registry, &census, &to_b);
        let (b, down_in_b) = caller(settings, &registry, &census, &to_a);
        let store = |session: &Session| ptr::from_ref(session.store());
        assert!(to_a.set((store(&a), down_in_a)).is_ok());
        assert!(to_b.set((store(&b), down_in_b)).is_ok());
        let kept = Rc::new(Cell::new(0));
        for session in [&a, &b] {
            let kept = Rc::clone(&kept);
            session.store().set_gc_observer(Rc::new(move |report| {
                assert_eq!(report.contract_breaks, 0, "{report}");
                kept.set(kept.get() + usize::from(!report.swept()));
            }));
        }
        let given = VMExternRef::new(census.object(HostKind::Value(0)));
        let args = [Val::I64(CALLS), Val::ExternRef(Some(given))];
        // 0 + … + 8 of the frames' own references, and 1 + … + 8 of those that they were given.
        assert_eq!(call(a.store(), &down_in_a, &args).unwrap(), 72);
        if walker == WalkerKind::Activations {
            assert_eq!(
                kept.get(),
                0,
                "it sees all frames of a store, and only those"
            );
        }
        drop(args);
        a.store().gc();
        b.store().gc();
        assert_eq!(census.alive(), 0, "after the last collection");
        assert_eq!((a.finish(), b.finish()), (0, 0));
    });
}
