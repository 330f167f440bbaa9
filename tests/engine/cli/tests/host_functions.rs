//! What the host's functions do when they are used wrongly.

use vmexternref_engine::{Console, Session, Settings, WalkerKind, assemble, on_guest_stack};
use vmexternref_engine_host::HostKind;
use vmexternref_engine_runtime::{CallError, Extern, FuncType, Trap, TrapCode, Val};

/// Calls `main` of a module in text: its numbers, and how many host objects outlived the store.
fn run(text: &str) -> (Result<Vec<i64>, CallError>, u64) {
    let wasm = assemble(text).unwrap();
    on_guest_stack(1 << 20, |stack| {
        let settings = Settings::new(WalkerKind::Activations, stack);
        let mut session = Session::new(&settings).unwrap();
        let ty = FuncType::new([], []);
        let panics = session
            .host()
            .func(session.store(), ty, |_, _, _| panic!("at the disco"));
        session
            .linker()
            .define("test", "panic", panics.unwrap())
            .unwrap();
        let compiled = session.compile(&wasm).unwrap();
        let instance = session.instantiate(compiled).unwrap();
        let main = instance.export("main").and_then(Extern::into_func).unwrap();
        let outcome = main.call(session.store(), &[]);
        let numbers = outcome.map(|results| results.iter().map(number).collect());
        (numbers, session.finish())
    })
    .unwrap()
}

fn number(value: &Val) -> i64 {
    match value {
        Val::I32(value) => i64::from(*value),
        Val::I64(value) => *value,
        other => panic!("{other:?} is not an integer"),
    }
}

/// The message of the host's trap in `main`, whose body is `body`.
fn trap_of(body: &str) -> String {
    let text = format!(
        r#"(module
          (import "host" "new" (func $new (param i64) (result externref)))
          (import "host" "value" (func $value (param externref) (result i64)))
          (import "host" "open" (func $open (param i32 i32) (result externref)))
          (import "host" "write" (func $write (param externref i32 i32) (result i32)))
          (import "host" "call" (func $call (param funcref)))
          (import "test" "panic" (func $panic))
          (memory 1)
          (data (i32.const 0) "/dev/null")
          (elem declare func $takes_one)
          (func $takes_one (param i32))
          (func (export "main")
            (local $mine externref)
            (local.set $mine (call $new (i64.const 1)))
            {body}
            (drop (call $value (local.get $mine)))))"#
    );
    let (outcome, alive) = run(&text);
    assert_eq!(alive, 0);
    match outcome {
        Err(CallError::Trap(Trap {
            code: TrapCode::Host,
            message: Some(message),
        })) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_panic_is_a_trap() {
    assert_eq!(
        trap_of("(call $panic)"),
        "a host function panicked: at the disco"
    );
}

#[test]
fn mistaken_references_are_traps() {
    for (body, message) in [
        (
            "(drop (call $value (ref.null extern)))",
            "host.value: the reference is null",
        ),
        (
            "(drop (call $value (call $open (i32.const 0) (i32.const 9))))",
            "host.value: file /dev/null has no value",
        ),
        (
            "(drop (call $write (local.get $mine) (i32.const 0) (i32.const 1)))",
            "host.write: value 1 is not a file",
        ),
        ("(call $call (ref.null func))", "the function is null"),
        (
            "(call $call (ref.func $takes_one))",
            "wrong number of arguments: expected 1, found 0",
        ),
        (
            "(drop (call $open (i32.const 65530) (i32.const 7)))",
            "out of bounds memory access",
        ),
        (
            "(drop (call $open (i32.const -1) (i32.const -1)))",
            "out of bounds memory access",
        ),
    ] {
        assert_eq!(trap_of(body), message, "{body}");
    }
}

#[test]
fn files_that_do_not_open_are_null_and_refuse_to_be_written() {
    let (outcome, alive) = run(r#"(module
          (import "host" "open" (func $open (param i32 i32) (result externref)))
          (import "host" "write" (func $write (param externref i32 i32) (result i32)))
          (memory 1)
          (data (i32.const 0) "/no/such/file")
          (func (export "main") (result i32)
            (call $write (call $open (i32.const 0) (i32.const 13)) (i32.const 0) (i32.const 1))))"#);
    assert_eq!(outcome.unwrap(), [-1]);
    assert_eq!(alive, 0);
}

#[test]
fn what_a_guest_leaves_at_rest_dies_with_its_store() {
    let (outcome, alive) = run(r#"(module
          (import "host" "new" (func $new (param i64) (result externref)))
          (import "host" "live" (func $live (result i64)))
          (global $kept (mut externref) (ref.null extern))
          (table $shelf 100 externref)
          (func (export "main") (result i64)
            (global.set $kept (call $new (i64.const 1)))
            (table.fill $shelf (i32.const 0) (call $new (i64.const 2)) (i32.const 100))
            (call $live)))"#);
    assert_eq!(outcome.unwrap(), [2]);
    assert_eq!(alive, 0);
}

#[test]
fn collections_are_reported_in_one_line_each() {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let sink = lines.clone();
    on_guest_stack(1 << 20, move |stack| {
        let settings = Settings {
            report_collections: true,
            console: Console::new(sink),
            ..Settings::new(WalkerKind::Activations, stack)
        };
        let session = Session::new(&settings).unwrap();
        drop(session.census().object(HostKind::Value(1)));
        session.store().gc();
    })
    .unwrap();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("gc: "), "{text}");
}
