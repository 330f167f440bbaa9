//! What a store does when the allocator says no, at any of its requests.
//!
//! A test binary of its own, because it replaces the global allocator. The allocator refuses and
//! counts only on the thread that asked for it.

#![expect(clippy::unwrap_used, reason = "a test that panics says what failed")]

use core::cell::Cell;
use core::error::Error;
use core::fmt::{self, Write};
use std::alloc::{GlobalAlloc, Layout, System};
use std::rc::Rc;
use std::sync::Arc;
use vmexternref_core::{StackMapRegistry, set_quarantine};
use vmexternref_engine::{EngineKind, assemble};
use vmexternref_engine_code_memory::CodeMemory;
use vmexternref_engine_compiler::{CompileOptions, compile};
use vmexternref_engine_host::{Census, Host, HostKind, HostObject, Platform};
use vmexternref_engine_runtime::{
    CallError, CompiledModule, Extern, FuncType, Global, GlobalType, Instance, InstantiateError,
    Limits, Linker, Memory, MemoryType, Module, Store, Table, TableType, TrapCode, Val, ValType,
};

/// Which requests the allocator refuses.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    /// None.
    Nothing,
    /// The next one after so many.
    One(usize),
    /// All after so many.
    Rest(usize),
}

thread_local! {
    static REFUSAL: Cell<Refusal> = const { Cell::new(Refusal::Nothing) };
    /// Whether a request was refused.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
    /// Bytes that this thread has allocated, less those that it has freed.
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

struct Failing;

fn refuses() -> bool {
    let (refused, next) = match REFUSAL.get() {
        Refusal::Nothing => (false, Refusal::Nothing),
        Refusal::One(0) => (true, Refusal::Nothing),
        Refusal::Rest(0) => (true, Refusal::Rest(0)),
        Refusal::One(left) => (false, Refusal::One(left - 1)),
        Refusal::Rest(left) => (false, Refusal::Rest(left - 1)),
    };
    REFUSAL.set(next);
    REFUSED.set(REFUSED.get() || refused);
    refused
}

// SAFETY: every request goes to the system's allocator, or gets null.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses() {
            return core::ptr::null_mut();
        }
        BYTES.set(BYTES.get() + layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size().cast_signed());
        // SAFETY: the memory came from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// An error's text, which takes no memory.
struct Refused {
    text: [u8; 100],
    len: usize,
}

impl<E: Error> From<E> for Refused {
    fn from(error: E) -> Self {
        let mut refused = Self {
            text: [0; 100],
            len: 0,
        };
        // What does not fit is left out.
        let _ = write!(refused, "{error}");
        refused
    }
}

impl Refused {
    fn text(&self) -> &str {
        str::from_utf8(&self.text[..self.len]).unwrap()
    }
}

impl Write for Refused {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let end = self.len + more.len();
        let room = self.text.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(more.as_bytes());
        self.len = end;
        Ok(())
    }
}

type Step = fn(&mut World) -> Result<(), Refused>;

/// Everything that an embedding does with a store, in this order.
const STEPS: [(&str, Step); 13] = [
    ("make a store", World::make_store),
    ("define the host's functions", World::define),
    ("load", World::load),
    ("be refused imports", World::refused_imports),
    ("instantiate", World::instantiate),
    ("define exports", World::define_exports),
    ("call", World::call),
    ("call with many values", World::call_with_many_values),
    ("trap", World::trap),
    ("make items", World::make_items),
    ("grow items", World::grow_items),
    ("ask for types", World::types),
    ("add a stack", World::add_stack),
];

const GUEST: &str = r#"(module
    (import "host" "new" (func $host_new (param i64) (result externref)))
    (import "host" "value" (func $value (param externref) (result i64)))
    (import "host" "gc" (func $gc))
    (import "host" "cell" (func $host_cell (result externref)))
    (import "host" "cell_get" (func $cell_get (param externref i32) (result externref)))
    (import "host" "cell_set" (func $cell_set (param externref i32 externref)))
    (import "host" "call" (func $host_call (param funcref)))
    (import "test" "no_memory" (func $no_memory))
    (import "test" "nine" (func $nine (param externref)
        (result externref i64 i64 i64 i64 i64 i64 i64 externref)))
    (memory (export "memory") 1 4)
    (table $objects (export "objects") 3 100 externref)
    (table $functions 2 funcref)
    (global $kept (export "kept") (mut externref) (ref.null extern))
    (elem (table $functions) (i32.const 0) func $start $fail)
    (data (i32.const 8) "data")
    (start $start)

    (func $new (param $number i64) (result externref) (local $object externref)
        (local.set $object (call $host_new (local.get $number)))
        (if (ref.is_null (local.get $object)) (then (call $no_memory)))
        (local.get $object))
    (func $cell (result externref) (local $cell externref)
        (local.set $cell (call $host_cell))
        (if (ref.is_null (local.get $cell)) (then (call $no_memory)))
        (local.get $cell))
    (func $grown (param i32)
        (if (i32.eq (local.get 0) (i32.const -1)) (then (call $no_memory))))

    (func $start (global.set $kept (call $new (i64.const 1))))
    (func $fail (export "fail") (drop (call $value (ref.null extern))))

    ;; The sum of `depth` objects that are all alive in the deepest call.
    (func $deep (param $depth i32) (result i64) (local $object externref) (local $sum i64)
        (if (i32.eqz (local.get $depth)) (then (return (i64.const 0))))
        (local.set $object (call $new (i64.extend_i32_u (local.get $depth))))
        (local.set $sum (call $deep (i32.sub (local.get $depth) (i32.const 1))))
        (i64.add (local.get $sum) (call $value (local.get $object))))

    ;; Two cells that refer to each other.
    (func $circle (local $one externref) (local $other externref)
        (local.set $one (call $cell))
        (local.set $other (call $cell))
        (call $cell_set (local.get $one) (i32.const 0) (local.get $other))
        (call $cell_set (local.get $other) (i32.const 1) (local.get $one))
        (drop (call $cell_get (local.get $one) (i32.const 0))))

    ;; What it returns is 1 for the object in the global, 2 for that in the table, twice its
    ;; argument's, and 55.
    (func (export "main") (param $given externref) (result i64) (local $sum i64)
        (table.set $objects (i32.const 1) (local.get $given))
        (table.set $objects (i32.const 2) (call $new (i64.const 2)))
        (call $circle)
        (if (i32.lt_u (table.size $objects) (i32.const 20)) (then
            (call $grown (table.grow $objects (local.get $given) (i32.const 5)))
            (call $grown (table.grow $objects (local.get $given) (i32.const 12)))))
        (if (i32.lt_u (memory.size) (i32.const 4)) (then
            (call $grown (memory.grow (i32.const 1)))))
        (local.set $sum (call $deep (i32.const 10)))
        (call $gc)
        (call $host_call (table.get $functions (i32.const 0)))
        (local.set $sum (i64.add (local.get $sum) (call $value (global.get $kept))))
        (local.set $sum (i64.add (local.get $sum)
            (call $value (table.get $objects (i32.const 1)))))
        (local.set $sum (i64.add (local.get $sum)
            (call $value (table.get $objects (i32.const 7)))))
        (i64.add (local.get $sum) (call $value (table.get $objects (i32.const 2)))))

    (func (export "many")
        (param externref i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
        (result externref i64 i64 i64 i64 i64 i64 i64 externref)
        (call $nine (local.get 0)))
)"#;

#[derive(Debug)]
struct Silent;

impl Platform for Silent {
    fn print(&self, _: fmt::Arguments<'_>) {}
}

/// A store and what is in it, as far as the steps have come.
struct World {
    engine: EngineKind,
    registry: Arc<StackMapRegistry>,
    code: Rc<CodeMemory>,
    host: Host,
    /// An object with the value 100.
    given: Val,
    /// Emptied by the first attempt to load it.
    compiled: Vec<CompiledModule>,
    linker: Linker,
    module: Option<Module>,
    instance: Option<Instance>,
    table: Option<Table>,
    memory: Option<Memory>,
    store: Option<Store>,
}

const OBJECTS: TableType = TableType {
    element: ValType::ExternRef,
    minimum: 2,
    maximum: None,
};

const PAGE: MemoryType = MemoryType {
    minimum: 1,
    maximum: None,
};

impl World {
    /// Nothing yet. A module that was being loaded when memory ran out is gone, so that there are
    /// two.
    fn new(engine: EngineKind, compiled: &CompiledModule) -> Self {
        let host = Host::new(Rc::new(Silent), Census::default());
        Self {
            engine,
            registry: Arc::default(),
            code: Rc::default(),
            given: host.object(|| HostKind::Value(100)),
            host,
            compiled: vec![compiled.clone(); 2],
            linker: Linker::new(),
            module: None,
            instance: None,
            table: None,
            memory: None,
            store: None,
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("the first step makes it")
    }

    fn export(&self, name: &str) -> Extern {
        let instance = self.instance.as_ref().expect("an earlier step makes it");
        instance.export(name).expect("the guest exports it")
    }

    fn make_store(&mut self) -> Result<(), Refused> {
        let limits = Limits {
            table_slots_initial: 4,
            interpreter_stack_bytes: 1 << 16,
            ..Limits::default()
        };
        let registry = Arc::clone(&self.registry);
        self.store = Some(match self.engine {
            EngineKind::Native => Store::new(registry, limits, Rc::clone(&self.code) as _)?,
            EngineKind::Pulley => Store::interpreted(registry, limits)?,
        });
        Ok(())
    }

    fn define(&mut self) -> Result<(), Refused> {
        let store = self.store.as_ref().expect("the first step makes it");
        self.host.define(store, &mut self.linker)?;
        let no_memory = FuncType::try_new(&[], &[])?;
        let no_memory =
            self.host.func(
                store,
                no_memory,
                |_, _, _| Err(TrapCode::OutOfMemory.into()),
            )?;
        self.linker.define("test", "no_memory", no_memory)?;
        use ValType::{ExternRef, I64};
        let results = [ExternRef, I64, I64, I64, I64, I64, I64, I64, ExternRef];
        let nine = FuncType::try_new(&[ExternRef], &results)?;
        let nine = self.host.func(store, nine, |_, args, results| {
            results[0] = args[0].clone();
            results[8] = args[0].clone();
            Ok(())
        })?;
        Ok(self.linker.define("test", "nine", nine)?)
    }

    fn load(&mut self) -> Result<(), Refused> {
        let compiled = self.compiled.pop().expect("there are two attempts");
        self.module = Some(Module::load(self.store(), compiled)?);
        Ok(())
    }

    fn module(&self) -> &Module {
        self.module.as_ref().expect("an earlier step loads it")
    }

    fn refused_imports(&mut self) -> Result<(), Refused> {
        match Linker::new().instantiate(self.store(), self.module()) {
            Err(InstantiateError::UnknownImport { module, name }) => {
                assert_eq!((&*module, &*name), ("host", "new"));
            }
            other => other.map(drop)?,
        }
        let global = GlobalType {
            value: ValType::I32,
            mutable: false,
        };
        let global = Global::new(self.store(), global, &Val::I32(0))?;
        match Instance::new(self.store(), self.module(), &[global.into()]) {
            Err(InstantiateError::IncompatibleImport { expected, .. }) => {
                assert_eq!(expected, "func [i64] -> [externref]");
            }
            other => other.map(drop)?,
        }
        Ok(())
    }

    fn instantiate(&mut self) -> Result<(), Refused> {
        let instance = self.linker.instantiate(self.store(), self.module())?;
        self.instance = Some(instance);
        Ok(())
    }

    fn define_exports(&mut self) -> Result<(), Refused> {
        let instance = self.instance.as_ref().expect("an earlier step makes it");
        self.linker.define_instance("guest", instance)?;
        let exported = self.linker.lookup("guest", "memory");
        assert_eq!(exported, instance.export("memory"));
        Ok(())
    }

    fn call(&mut self) -> Result<(), Refused> {
        let main = self.export("main").into_func().unwrap();
        let results = main.call(self.store(), core::slice::from_ref(&self.given))?;
        let [Val::I64(sum)] = results[..] else {
            panic!("{results:?}");
        };
        assert_eq!(sum, 1 + 2 + 2 * 100 + 55);
        Ok(())
    }

    fn call_with_many_values(&mut self) -> Result<(), Refused> {
        let many = self.export("many").into_func().unwrap();
        let mut args = [const { Val::I32(0) }; 17];
        args[0] = self.given.clone();
        let results = many.call(self.store(), &args)?;
        assert!(self.is_given(&results[0]) && self.is_given(&results[8]));
        Ok(())
    }

    fn trap(&mut self) -> Result<(), Refused> {
        let fail = self.export("fail").into_func().unwrap();
        match fail.call(self.store(), &[]) {
            Err(CallError::Trap(trap)) if trap.code == TrapCode::Host => {
                let message = trap.message.as_deref();
                assert_eq!(message, Some("host.value: the reference is null"));
                Ok(())
            }
            other => Ok(other.map(drop)?),
        }
    }

    fn make_items(&mut self) -> Result<(), Refused> {
        let object = GlobalType {
            value: ValType::ExternRef,
            mutable: true,
        };
        let global = Global::new(self.store(), object, &self.given)?;
        assert!(self.is_given(&global.value(self.store())?));
        self.table = Some(Table::new(self.store(), OBJECTS, &self.given)?);
        self.memory = Some(Memory::new(self.store(), PAGE)?);
        Ok(())
    }

    fn grow_items(&mut self) -> Result<(), Refused> {
        let (store, table) = (self.store(), self.table.expect("the step before makes it"));
        let size = table.size(store)?;
        assert_eq!(table.grow(store, 3, &self.given)?, size);
        for index in 0..size + 3 {
            assert!(self.is_given(&table.at(store, index)?));
        }
        let memory = self.memory.expect("the step before makes it");
        let pages = memory.size(store)?;
        memory.write(store, 7, &[7])?;
        assert_eq!(memory.grow(store, 1)?, pages);
        let mut byte = [0];
        memory.read(store, 7, &mut byte)?;
        assert_eq!(byte, [7]);
        Ok(())
    }

    fn types(&mut self) -> Result<(), Refused> {
        let main = self.export("main");
        let ty = main.into_func().unwrap().ty(self.store())?;
        assert_eq!(ty.params[..], [ValType::ExternRef]);
        let _ = main.ty(self.store())?;
        Ok(())
    }

    fn add_stack(&mut self) -> Result<(), Refused> {
        drop(self.store().add_stack(0x1_0000..0x2_0000, 0x1000)?);
        Ok(())
    }

    fn is_given(&self, value: &Val) -> bool {
        match (value, &self.given) {
            (Val::ExternRef(Some(value)), Val::ExternRef(Some(given))) => {
                let object = value.downcast_ref::<HostObject>();
                assert_eq!(object.and_then(|object| object.kind().number()), Some(100));
                value.as_raw() == given.as_raw()
            }
            _ => false,
        }
    }
}

/// Takes all steps, and repeats those that found no memory with memory.
///
/// Returns for each whether it was repeated.
fn take_steps(world: &mut World, refusal: Refusal) -> [bool; STEPS.len()] {
    let mut repeated = [false; STEPS.len()];
    REFUSED.set(false);
    REFUSAL.set(refusal);
    for ((name, step), repeated) in STEPS.iter().zip(&mut repeated) {
        if let Err(refused) = step(world) {
            REFUSAL.set(Refusal::Nothing);
            let text = refused.text();
            assert!(text.contains("memory"), "{name}, {refusal:?}: {text:?}");
            assert!(REFUSED.get(), "{name}, {refusal:?}: {text:?}");
            let again = step(world);
            assert!(
                again.is_ok(),
                "{name}, {refusal:?}: with memory, {:?}",
                again.unwrap_err().text()
            );
            *repeated = true;
        }
    }
    REFUSAL.set(Refusal::Nothing);
    repeated
}

/// One life of a store, of which no object is left. Also returns the bytes that are left.
fn live(
    engine: EngineKind,
    compiled: &CompiledModule,
    refusal: Refusal,
) -> ([bool; STEPS.len()], isize) {
    let before = BYTES.get();
    let mut world = World::new(engine, compiled);
    let repeated = take_steps(&mut world, refusal);
    world.call().ok().unwrap();
    assert!(world.is_given(&world.given), "{refusal:?}");
    let host = world.host.clone();
    drop(world);
    host.collect_cycles();
    assert_eq!(host.census().alive(), 0, "{refusal:?}: objects are left");
    drop(host);
    (repeated, BYTES.get() - before)
}

/// Refuses the n-th request, and then the n-th and all later ones, for each n.
fn every_request(engine: EngineKind, options: &CompileOptions) {
    set_quarantine(0);
    let compiled = compile(&assemble(GUEST).unwrap(), options).unwrap();
    // The process keeps its list of the code that unwinders know, which the first store makes.
    let (nothing, _) = live(engine, &compiled, Refusal::Nothing);
    assert_eq!(nothing, [false; STEPS.len()]);
    let mut ever = [false; STEPS.len()];
    for refusal in [Refusal::One, Refusal::Rest] {
        let mut n = 0;
        loop {
            let (repeated, left) = live(engine, &compiled, refusal(n));
            assert_eq!(left, 0, "{:?}: bytes are left", refusal(n));
            if !REFUSED.get() {
                break;
            }
            for (ever, repeated) in ever.iter_mut().zip(repeated) {
                *ever |= repeated;
            }
            n += 1;
        }
        assert!(n > 100, "{n} requests");
    }
    for ((name, _), ever) in STEPS.iter().zip(ever) {
        assert!(ever, "{name}: it never found no memory");
    }
}

#[test]
fn a_native_store_bears_each_refusal() {
    every_request(EngineKind::Native, &CompileOptions::default());
}

#[test]
#[cfg(target_endian = "little")]
fn an_interpreting_store_bears_each_refusal() {
    every_request(EngineKind::Pulley, &CompileOptions::for_bytecode());
}
