//! Runs a program in one configuration, and compares it with what was foretold.

use crate::configuration::Configuration;
use crate::emitter::{MAIN, module_name};
use crate::oracle::{Event, Object, Outcome};
use crate::stack::on_new_stack;
use core::cell::{Cell, RefCell};
use core::ops::Range;
use std::rc::Rc;
use vmexternref_core::GcOutcome;
use vmexternref_engine::{EngineKind, Session, Settings, WalkerKind};
use vmexternref_engine_host::{HostKind, HostObject, mistyped};
use vmexternref_engine_runtime::ValType::{ExternRef, FuncRef, I32};
use vmexternref_engine_runtime::{
    CallError, Caller, CompiledModule, Extern, FuncType, Trap, Val, ValType,
};

/// The modules of a program, and what they were compiled to so far.
pub(crate) struct Binaries<'w> {
    wasm: &'w [Vec<u8>],
    compiled: Vec<((EngineKind, bool), Vec<CompiledModule>)>,
}

impl<'w> Binaries<'w> {
    /// None is compiled.
    pub(crate) fn new(wasm: &'w [Vec<u8>]) -> Self {
        let compiled = Vec::new();
        Self { wasm, compiled }
    }

    fn compiled(&mut self, session: &Session, configuration: Configuration) -> Vec<CompiledModule> {
        let key = (configuration.engine, configuration.zeal);
        if let Some((_, modules)) = self.compiled.iter().find(|(other, _)| *other == key) {
            return modules.clone();
        }
        let compile = |wasm: &Vec<u8>| session.compile(wasm).expect("programs are valid");
        let modules: Vec<_> = self.wasm.iter().map(compile).collect();
        self.compiled.push((key, modules.clone()));
        modules
    }
}

/// What the host hears.
#[derive(Default)]
struct Heard {
    events: RefCell<Vec<Event>>,
    made: Cell<u64>,
}

impl Heard {
    fn add(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }
}

/// Runs the program, and panics unless it does what `foretold` says.
pub(crate) fn run(
    binaries: &mut Binaries<'_>,
    foretold: &Outcome,
    configuration: Configuration,
    stack: &Range<usize>,
) {
    assert!(
        !configuration.stacks || configuration.walker == WalkerKind::Activations,
        "the store's own walker knows its stacks"
    );
    let mut settings = Settings::new(configuration.walker, stack.clone());
    settings.engine = configuration.engine;
    settings.zeal = configuration.zeal;
    let mut session = Session::new(&settings).expect("there is memory, and a walker");
    let heard = Rc::new(Heard::default());
    define(&mut session, &heard, configuration.stacks);
    let mut instances = Vec::new();
    let compiled = binaries.compiled(&session, configuration);
    for (index, module) in compiled.into_iter().enumerate() {
        let instance = session.instantiate(module).expect("the imports are there");
        let registered = session.register(&module_name(index), &instance);
        registered.expect("there is memory");
        instances.push(instance);
    }
    let (store, first) = (session.store(), &instances[0]);
    let main = instances.last().and_then(|last| last.export(MAIN));
    let main = main
        .and_then(Extern::into_func)
        .expect("the last module has it");
    let trap = match main.call(store, &[]) {
        Ok(_) => None,
        Err(CallError::Trap(trap)) => Some(trap.code),
        Err(error) => panic!("{configuration}: {error}"),
    };
    assert_eq!(store.gc().outcome, GcOutcome::Swept, "{configuration}");
    assert_eq!(trap, foretold.trap, "{configuration}: how it ends");
    compare(&heard.events.borrow(), &foretold.events, configuration);
    assert_eq!(
        heard.made.get(),
        foretold.made,
        "{configuration}: objects made"
    );
    let stored = foretold.stored().len() as u64;
    let alive = session.census().alive();
    assert_eq!(alive, stored, "{configuration}: objects left at the end");
    for (index, object) in foretold.globals.iter().enumerate() {
        let global = first
            .export(&format!("g{index}"))
            .and_then(Extern::into_global);
        let value = global.expect("the first module has it").value(store);
        let value = value.expect("the store is the same");
        assert_eq!(
            object_of(&value),
            *object,
            "{configuration}: global {index}"
        );
    }
    for (index, objects) in foretold.tables.iter().enumerate() {
        let table = first
            .export(&format!("t{index}"))
            .and_then(Extern::into_table);
        let table = table.expect("the first module has it");
        let size = table.size(store).expect("the store is the same");
        let values = (0..size).map(|at| table.at(store, at).expect("the table is as large"));
        let found: Vec<_> = values.map(|value| object_of(&value)).collect();
        assert_eq!(found, *objects, "{configuration}: table {index}");
    }
    drop(instances);
    assert_eq!(
        session.finish(),
        0,
        "{configuration}: objects left without the store"
    );
}

/// Compares what the host heard with what was foretold.
fn compare(heard: &[Event], foretold: &[Event], configuration: Configuration) {
    for (index, (found, expected)) in heard.iter().zip(foretold).enumerate() {
        let agree = match (found, expected) {
            (Event::Collected(left), Event::Collected(bounds)) => {
                bounds.contains(left.start()) && bounds.contains(left.end())
            }
            (found, expected) => found == expected,
        };
        assert!(
            agree,
            "{configuration}: event {index} is {found:?}, not {expected:?}"
        );
    }
    assert_eq!(heard.len(), foretold.len(), "{configuration}: events");
}

/// The object behind a value.
fn object_of(value: &Val) -> Object {
    let Val::ExternRef(reference) = value else {
        panic!("{value:?} is no reference")
    };
    let object = HostObject::behind("model", Some(reference.as_ref()?));
    let number = object.expect("guests have no others").number();
    Some(number.expect("it has one").cast_unsigned())
}

type Closure = Box<dyn Fn(&Caller<'_>, &[Val], &mut [Val]) -> Result<(), Trap>>;

/// Defines the functions of the module `model`; with `stacks`, it calls functions on stacks of
/// their own.
fn define(session: &mut Session, heard: &Rc<Heard>, stacks: bool) {
    let host = session.host().clone();
    let making = Rc::clone(heard);
    let new = move |_: &Caller<'_>, _: &[Val], results: &mut [Val]| {
        let number = making.made.replace(making.made.get() + 1);
        results[0] = host.object(|| HostKind::Value(number.cast_signed()));
        Ok(())
    };
    let seeing = Rc::clone(heard);
    let see = move |_: &Caller<'_>, args: &[Val], _: &mut [Val]| {
        seeing.add(Event::Saw(object_of(&args[0])));
        Ok(())
    };
    let counting = Rc::clone(heard);
    let see_num = move |_: &Caller<'_>, args: &[Val], _: &mut [Val]| {
        let [Val::I32(number)] = *args else {
            return Err(mistyped());
        };
        counting.add(Event::Number(number));
        Ok(())
    };
    let (census, collecting) = (session.census().clone(), Rc::clone(heard));
    let collect = move |caller: &Caller<'_>, _: &[Val], _: &mut [Val]| {
        let report = caller.store().gc();
        if report.outcome != GcOutcome::Swept {
            return Err(Trap::host(report.outcome));
        }
        let alive = census.alive();
        collecting.add(Event::Collected(alive..=alive));
        Ok(())
    };
    let call_with = move |caller: &Caller<'_>, args: &[Val], results: &mut [Val]| {
        let [references @ .., Val::FuncRef(Some(function))] = args else {
            return Err(mistyped());
        };
        let mut call = || function.call_into(caller.store(), references, results);
        let called = if stacks {
            // SAFETY: `run` asserts that the store has its own walker.
            unsafe { on_new_stack(caller.store(), call) }
        } else {
            call()
        };
        called.map_err(|error| match error {
            CallError::Trap(trap) => trap,
            other => Trap::host(other),
        })
    };
    let functions: [(&str, &[ValType], &[ValType], Closure); 5] = [
        ("new", &[], &[ExternRef], Box::new(new)),
        ("see", &[ExternRef], &[], Box::new(see)),
        ("see_num", &[I32], &[], Box::new(see_num)),
        ("collect", &[], &[], Box::new(collect)),
        (
            "call_with",
            &[ExternRef, ExternRef, FuncRef],
            &[ExternRef],
            Box::new(call_with),
        ),
    ];
    for (name, params, results, closure) in functions {
        let ty = FuncType::new(params.iter().copied(), results.iter().copied());
        let func = session.host().func(session.store(), ty, closure);
        let func = func.expect("there is memory");
        let defined = session.linker().define("model", name, func);
        defined.expect("there is memory");
    }
}
