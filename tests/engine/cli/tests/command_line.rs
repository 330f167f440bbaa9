//! The program as people use it: good input, and every kind of bad input.

use crate::WALKS;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use vmexternref_engine::{EngineKind, WalkerKind, assemble};

/// A folder of its own for each test, gone at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vmexternref-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A command that starts the program.
///
/// On a foreign processor, `VMEXTERNREF_TEST_RUNNER` is the emulator with its options.
fn program() -> Command {
    let runner = std::env::var("VMEXTERNREF_TEST_RUNNER").unwrap_or_default();
    let binary = env!("CARGO_BIN_EXE_vmexternref-engine");
    let mut words = runner.split_whitespace().chain([binary]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

fn engine(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Runs the program, which must refuse in one line with these words, and exit by itself.
#[track_caller]
pub(crate) fn refuses(args: &[&str], words: &str) {
    let output = engine(args);
    let errors = lines(&output.stderr);
    assert_eq!(errors.len(), 1, "{args:?}: {errors:?}");
    assert!(errors[0].starts_with("error: "), "{args:?}: {errors:?}");
    assert!(
        errors[0].contains(words),
        "{args:?}: {errors:?} without {words:?}"
    );
    let code = output.status.code();
    assert!(matches!(code, Some(1 | 2)), "{args:?}: {:?}", output.status);
}

/// Runs the program, which must succeed; its lines.
#[track_caller]
pub(crate) fn accepts(args: &[&str]) -> Vec<String> {
    let output = engine(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    assert_eq!(lines(&output.stderr), [""; 0], "{args:?}");
    lines(&output.stdout)
}

#[test]
fn files_are_refused_that_hold_no_module() {
    let folder = Folder::new("no-module");
    refuses(
        &["run", "/no/such/file.wat"],
        "cannot read /no/such/file.wat",
    );
    refuses(&["run", folder.0.to_str().unwrap()], "cannot read");
    refuses(&["run", &folder.file("empty.wasm", "")], "");
    for (name, contents, words) in [
        (
            "a.wat",
            &b"(module (func"[..],
            "a.wat:1:14: malformed text: expected `)`",
        ),
        ("b.wat", b"\n  (modul)", "b.wat:2:"),
        ("c.wat", b"(module (func (call $missing)))", "unknown func"),
        ("d.wat", b"\xff\xfe\x00", "neither text nor a binary module"),
        ("e.wasm", b"\0asm", "invalid module"),
        ("f.wasm", b"\0asm\x01\0\0\0\x0a\xff", "invalid module"),
        (
            "g.wasm",
            b"\0asm\x0d\0\x01\0",
            "unsupported: the component model",
        ),
        (
            "h.wat",
            b"(module (func (result i32)))",
            "invalid module: type mismatch",
        ),
        (
            "i.wat",
            b"(module (func (result v128) (v128.const i32x4 0 0 0 0)))",
            "SIMD",
        ),
        (
            "j.wat",
            b"(module (memory 1) (memory 1))",
            "multiple memories",
        ),
    ] {
        refuses(&["run", &folder.file(name, contents)], words);
    }
    // A module cut off anywhere is malformed, or something smaller that is whole.
    let wasm = assemble(r#"(module (memory 1) (func (export "main") (result i32) (i32.const 1)))"#);
    let wasm = wasm.unwrap();
    for len in 0..wasm.len() {
        let output = engine(&["run", &folder.file("cut.wasm", &wasm[..len])]);
        let errors = lines(&output.stderr).len();
        let code = output.status.code();
        assert!(
            matches!((code, errors), (Some(0), 0) | (Some(1), 1)),
            "{len} bytes: {output:?}"
        );
    }
}

#[test]
fn imports_have_to_be_known_and_to_fit() {
    let folder = Folder::new("imports");
    for (import, words) in [
        (
            r#""host" "nothing" (func)"#,
            r#"unknown import "host" "nothing""#,
        ),
        (
            r#""nobody" "new" (func)"#,
            r#"unknown import "nobody" "new""#,
        ),
        (
            r#""host" "new" (func (param i32) (result externref))"#,
            "incompatible import type",
        ),
        (r#""host" "new" (memory 1)"#, "incompatible import type"),
        (
            r#""spectest" "memory" (memory 5)"#,
            "incompatible import type",
        ),
    ] {
        let text = format!("(module (import {import}))");
        refuses(&["run", &folder.file("import.wat", text)], words);
    }
}

#[test]
fn traps_and_limits_are_one_line() {
    let folder = Folder::new("traps");
    for (module, words) in [
        (r#"(func (export "main") unreachable)"#, "trap: unreachable"),
        (
            r#"(func $main (export "main") (call $main))"#,
            "trap: call stack exhausted",
        ),
        (
            r#"(memory 1) (func (export "main") (drop (i32.load (i32.const -1))))"#,
            "trap: out of bounds memory access",
        ),
        (
            r#"(import "host" "value" (func $value (param externref) (result i64)))
               (func (export "main") (drop (call $value (ref.null extern))))"#,
            "trap: host.value: the reference is null",
        ),
        (
            r#"(memory 1) (data (i32.const 65536) "x")"#,
            "trap while instantiating: out of bounds memory access",
        ),
        (
            "(func $s unreachable) (start $s)",
            "trap while instantiating: unreachable",
        ),
        ("(memory 65536)", "memory limit reached"),
        ("(table 4000000000 funcref)", "table limit reached"),
    ] {
        let file = folder.file("trap.wat", format!("(module {module})"));
        refuses(&["run", &file], words);
    }
}

/// Two memories leave a few pages, of which the script's own items take some.
#[test]
fn memories_and_tables_share_a_limit() {
    let folder = Folder::new("bytes");
    let full = "(module (memory 16384)) (module (memory 16380))";
    let run = |last: &str| {
        let script = folder.file("full.wast", format!("{full} {last}"));
        let output = engine(&["wast", &script]);
        (output.status.success(), lines(&output.stdout).join("\n"))
    };
    let small = "(module (memory 1) (table 1 externref))";
    assert_eq!(run(small), (true, "3 passed, 0 failed, 0 skipped".into()));
    for large in ["(memory 4)", "(table 32768 externref)"] {
        let (passed, printed) = run(&format!("(module {large})"));
        let words = "limit exceeded: more than 2147483648 bytes of memories and tables";
        assert!(!passed && printed.contains(words), "{printed}");
    }
}

#[test]
fn arguments_are_read_by_type() {
    let folder = Folder::new("arguments");
    let file = folder.file(
        "echo.wat",
        r#"(module
          (memory (export "memory") 1)
          (func (export "i32") (param i32) (result i32) (local.get 0))
          (func (export "i64") (param i64) (result i64) (local.get 0))
          (func (export "f32") (param f32) (result f32) (local.get 0))
          (func (export "f64") (param f64) (result f64) (local.get 0))
          (func (export "ref") (param externref) (result externref) (local.get 0))
          (func (export "func") (param funcref) (result funcref) (local.get 0))
          (func (export "swap") (param i32 externref) (result externref i32) (local.get 1) (local.get 0)))"#,
    );
    for (invocation, results) in [
        (&["i32", "-7"][..], &["-7"][..]),
        (&["i32", "0xffffffff"], &["-1"]),
        (&["i64", "18446744073709551615"], &["-1"]),
        (&["f32", "1.5"], &["1.5"]),
        (&["f64", "-1e300"], &["-1e300"]),
        (&["f64", "--", "-inf"], &["-inf"]),
        (&["ref", "null"], &["null"]),
        (&["ref", "42"], &["externref(value 42)"]),
        (&["func", "null"], &["null"]),
        (&["swap", "3", "4"], &["externref(value 4)", "3"]),
    ] {
        let mut args = vec!["run", &file, "--invoke"];
        args.extend(invocation);
        let expected = [&["walker: activations"][..], results, &["alive: 0"]].concat();
        assert_eq!(accepts(&args), expected, "{invocation:?}");
    }
    for (invocation, words) in [
        (&["i32"][..], "wrong number of arguments"),
        (&["i32", "1", "2"], "wrong number of arguments"),
        (
            &["i32", "4294967296"],
            r#"wrong argument "4294967296": expected a value of type i32"#,
        ),
        (&["f64", "one"], "expected a value of type f64"),
        (&["func", "1"], "expected a value of type funcref"),
        (&["nothing"], r#"unknown export "nothing""#),
        (&["memory"], r#"the export "memory" is not a function"#),
    ] {
        let mut args = vec!["run", &file, "--invoke"];
        args.extend(invocation);
        refuses(&args, words);
    }
}

#[test]
fn the_command_line_itself_is_checked() {
    refuses(&[], "a command is needed");
    refuses(&["walk"], "unrecognized subcommand 'walk'");
    refuses(&["run"], "required arguments were not provided");
    refuses(&["wast"], "required arguments were not provided");
    refuses(&["run", "a.wat", "--walker", "sky"], "invalid value 'sky'");
    refuses(&["run", "a.wat", "--engine", "jet"], "invalid value 'jet'");
    refuses(
        &["run", "a.wat", "--speed"],
        "unexpected argument '--speed'",
    );
    refuses(&["wast", "/no/such/folder"], "cannot read /no/such/folder");
    let folder = Folder::new("no-scripts");
    refuses(&["wast", folder.0.to_str().unwrap()], "no .wast file in");
    assert!(accepts(&["--help"]).len() > 5);
    assert_eq!(accepts(&["--version"]).len(), 1);
}

#[test]
fn help_names_units_and_defaults() {
    for (command, words) in [
        (
            "run",
            &[
                "8192 KiB of stack",
                "2048 KiB with --zeal",
                "1024 KiB with --zeal --walker backtrace",
                "at most 1024 MiB",
                "from 16K to 1G",
                "host objects died",
                "[default: activations]",
                "[default: native]",
                "[default: a new temporary one]",
                "`main`, `_start` and `run`",
            ][..],
        ),
        (
            "wast",
            &[
                "512 KiB of stack",
                "--stack <SIZE>",
                "[default: activations]",
            ],
        ),
        ("compile", &["[default: this machine]"]),
    ] {
        let help = accepts(&[command, "--help"]).join("\n");
        for word in words {
            assert!(help.contains(word), "{word:?} is not in {help}");
        }
    }
}

#[test]
fn walkers_of_native_frames_are_refused_where_guests_are_interpreted() {
    let folder = Folder::new("native-walkers");
    let file = folder.file("nothing.wat", "(module)");
    for walker in ["backtrace", "current-frame"] {
        let words = format!("the {walker} walker does not see the frames of an interpreter");
        refuses(
            &["run", &file, "--engine", "pulley", "--walker", walker],
            &words,
        );
    }
}

#[cfg_attr(target_arch = "s390x", ignore = "this walker does not exist there")]
#[test]
fn guests_have_the_stack_that_was_asked_for() {
    let folder = Folder::new("stack");
    let wat = r#"(func $deep (export "deep") (param i32)
        (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))))))"#;
    let file = folder.file("deep.wat", format!("(module {wat})"));
    let run = |stack| ["run", &file, "--invoke", "deep", "20000", "--stack", stack];
    accepts(&run("16M"));
    refuses(&run("64K"), "trap: call stack exhausted");
    let script = format!("(module {wat}) (invoke \"deep\" (i32.const 20000))");
    let script = folder.file("deep.wast", script);
    let printed = accepts(&["wast", &script, "--stack", "16M"]);
    assert_eq!(printed, ["2 passed, 0 failed, 0 skipped"]);
    assert!(
        !engine(&["wast", &script, "--stack", "64K"])
            .status
            .success()
    );
    for size in ["1K", "2G", "-1", "much"] {
        let option = format!("--stack={size}");
        for command in ["run", "wast"] {
            refuses(&[command, &file, &option], "invalid value");
        }
    }
}

#[cfg_attr(target_arch = "s390x", ignore = "this walker does not exist there")]
#[test]
fn the_current_frame_walker_answers_to_its_old_name() {
    let folder = Folder::new("alias");
    let file = folder.file("nothing.wat", "(module)");
    let printed = accepts(&["run", &file, "--walker", "frame-pointer"]);
    assert_eq!(printed, ["walker: current-frame", "alive: 0"]);
}

#[test]
fn entry_points_are_tried_in_turn() {
    let folder = Folder::new("entry-points");
    let import = r#"(import "host" "print_i64" (func $print (param i64)))"#;
    let export =
        |name, number| format!(r#"(func (export "{name}") (call $print (i64.const {number})))"#);
    let (main, start, run) = (export("main", 1), export("_start", 2), export("run", 3));
    for (functions, printed) in [
        (format!("{run}{start}{main}"), "1"),
        (format!("{run}{start}"), "2"),
        (run, "3"),
        (
            "(func $s (call $print (i64.const 4))) (start $s)".to_owned(),
            "4",
        ),
    ] {
        let file = folder.file("entry.wat", format!("(module {import} {functions})"));
        let expected = ["walker: activations", printed, "alive: 0"];
        assert_eq!(accepts(&["run", &file]), expected);
    }
    let file = folder.file("nothing.wat", "(module)");
    let expected = ["walker: activations", "alive: 0"];
    assert_eq!(accepts(&["run", &file]), expected);
}

#[test]
fn the_demonstration_runs_in_every_way() {
    let program = crate::programs::folder().join("files.wat");
    let program = program.to_str().unwrap();
    let mut names: Vec<_> = WALKS
        .iter()
        .map(|&(engine, walker)| (engine, walker.to_string(), walker))
        .collect();
    if WalkerKind::ALL.contains(&WalkerKind::CurrentFrame) {
        let alias = "frame-pointer".to_owned();
        names.push((EngineKind::Native, alias, WalkerKind::CurrentFrame));
    }
    for (engine, name, walker) in names {
        let engine = engine.to_string();
        for options in [&[][..], &["--zeal"], &["--trace"], &["--zeal", "--trace"]] {
            let folder = Folder::new("demonstration");
            let files = folder.0.to_str().unwrap();
            let engine = ["--engine", &engine];
            let mut args = vec!["run", program, "--walker", &name, "--dir", files];
            args.extend(engine);
            args.extend(options);
            let printed = accepts(&args);
            let count = |start: &str| {
                printed
                    .iter()
                    .filter(|line| line.starts_with(start))
                    .count()
            };
            assert_eq!((count("open: "), count("close: ")), (14, 14));
            assert!(count("gc: ") >= 6);
            assert_eq!(count("trace: ") > 0, options.contains(&"--trace"));
            assert_eq!(printed[0], format!("walker: {walker}"));
            assert_eq!(printed.last().unwrap(), "alive: 0");
            let line = "A line through an externref.\n";
            assert_eq!(
                fs::read_to_string(folder.0.join("global.txt")).unwrap(),
                line
            );
            assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 9);
        }
    }
}

#[test]
fn scripts_are_counted_and_their_failures_located() {
    let folder = Folder::new("scripts");
    let good = folder.file(
        "good.wast",
        r#"(module (func (export "f") (result i32) (i32.const 1)))
           (assert_return (invoke "f") (i32.const 1))"#,
    );
    assert_eq!(accepts(&["wast", &good]), ["2 passed, 0 failed, 0 skipped"]);
    let simd = folder.file(
        "simd.wast",
        r#"(module (func (export "f") (result v128) (v128.const i32x4 0 0 0 0)))
           (assert_return (invoke "f") (v128.const i32x4 0 0 0 0))
           (assert_invalid (module (func (result v128))) "type mismatch")"#,
    );
    let printed = accepts(&["wast", &simd]);
    assert_eq!(
        printed,
        [
            format!("{simd}: 2 skipped: needs SIMD"),
            "1 passed, 0 failed, 2 skipped".to_owned()
        ]
    );
    folder.file(
        "bad.wast",
        r#"(module (func (export "f") (result i32) (i32.const 1)))
           (assert_return (invoke "f") (i32.const 2))
           (assert_trap (invoke "f") "unreachable")
           (assert_return (invoke "g"))
           (assert_invalid (module) "anything")"#,
    );
    folder.file("worse.wast", "(module\n(assert");
    let output = engine(&["wast", folder.0.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let printed = lines(&output.stdout);
    for (index, place) in [
        "bad.wast:2: ",
        "bad.wast:3: ",
        "bad.wast:4: ",
        "bad.wast:5: ",
    ]
    .iter()
    .enumerate()
    {
        assert!(printed[index].contains(place), "{printed:?}");
    }
    assert!(
        printed
            .iter()
            .any(|line| line.contains("worse.wast:2: malformed script")),
        "{printed:?}"
    );
    assert_eq!(printed.last().unwrap(), "4 passed, 5 failed, 2 skipped");
}

#[test]
fn nobody_has_to_read_to_the_end() {
    let program = crate::programs::folder().join("files.wat");
    let folder = Folder::new("pipe");
    let mut child = self::program()
        .args([
            "run",
            program.to_str().unwrap(),
            "--zeal",
            "--trace",
            "--dir",
        ])
        .arg(&folder.0)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
