//! The page of a run: what is in its data, and that guests cannot break it.

use crate::WALKS;
use crate::command_line::{Folder, accepts, refuses};
use serde_json::{Value, json};
use std::fs;
use vmexternref_engine::{Session, Settings, WalkerKind, assemble, on_guest_stack};
use vmexternref_engine_runtime::{CompiledModule, Extern};

/// The data that the script of a page reads.
fn data(html: &str) -> Value {
    let (_, data) = html.split_once(r#"id="data">"#).unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    serde_json::from_str(data).unwrap()
}

fn integer(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

/// The page of a run of `main`. `change` changes the module after it was compiled.
fn page(wasm: &[u8], change: impl FnOnce(&mut CompiledModule) + Send) -> String {
    let html = on_guest_stack(4 << 20, |stack| {
        let settings = Settings {
            record: true,
            verification: true,
            ..Settings::new(WalkerKind::Activations, stack)
        };
        let session = Session::new(&settings).unwrap();
        let mut compiled = session.compile(wasm).unwrap();
        change(&mut compiled);
        let instance = session.instantiate(compiled).unwrap();
        let main = instance.export("main").and_then(Extern::into_func).unwrap();
        main.call(session.store(), &[]).unwrap();
        let (alive, page) = session.finish_with_page("folder/program.wat");
        assert_eq!(alive, 0);
        page.unwrap().html()
    });
    html.unwrap()
}

const HOLDS_ONE: &str = r#"(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "gc" (func $gc))
  (import "host" "value" (func $value (param externref) (result i64)))
  (table $kept 1 externref)
  (func $make (param i64) (result externref) (call $new (local.get 0)))
  (func $hold (param $held externref) (param $number i64) (result i64)
    (drop (call $make (i64.const 8)))
    (call $gc)
    (i64.add (call $value (local.get $held)) (local.get $number)))
  (func (export "main") (result i64)
    (table.set $kept (i32.const 0) (call $make (i64.const 9)))
    (call $hold (call $make (i64.const 7)) (i64.const 0x1235))))"#;

#[test]
fn a_page_shows_who_holds_what_and_what_died() {
    let wasm = assemble(HOLDS_ONE).unwrap();
    let data = data(&page(&wasm, |_| {}));
    assert_eq!(data["program"], "folder/program.wat");
    assert_eq!(
        data["totals"],
        json!({ "collections": 1, "made": 3, "freed": 1, "broken": 0 })
    );
    let row = &data["rows"][0];
    for (key, value) in [
        ("kind", json!("gc")),
        ("n", json!(1)),
        ("swept", json!(true)),
        ("frames", json!(2)),
        ("wasm", json!(2)),
        ("roots", json!(1)),
        ("freed", json!(1)),
        ("alive", json!(2)),
    ] {
        assert_eq!(row[key], value, "{key} of {row}");
    }
    let detail = &data["details"][0];
    let function = |index: &Value| &data["functions"][integer(index)];
    let frames = detail["frames"].as_array().unwrap();
    let names: Vec<_> = frames
        .iter()
        .map(|frame| function(&frame["function"]))
        .collect();
    assert_eq!(names, ["$hold", "\"main\""]);
    let slots = frames[0]["slots"].as_array().unwrap();
    assert_eq!(slots.len(), 1);
    assert_eq!(
        (&slots[0]["holds"], &slots[0]["object"]),
        (&json!("object"), &json!(2))
    );
    assert_eq!(detail["died"], json!([3]));
    // The third object, which the first one's table keeps, is in no picture.
    let objects = data["objects"].as_object().unwrap();
    assert_eq!(objects.keys().collect::<Vec<_>>(), ["2", "3"]);
    for (number, text, died) in [
        ("2", "value 7", json!("end")),
        ("3", "value 8", json!({ "gc": 1 })),
    ] {
        let object = &objects[number];
        assert_eq!((&object["text"], &object["died"]), (&json!(text), &died));
        assert_eq!(function(&object["made"]["function"]), "$make");
        let call = integer(&object["made"]["offset"]);
        assert_eq!(wasm[call..][..2], [0x10, 0], "the call of function 0");
    }
}

/// Makes each aligned word of each frame a live one, as far as the first bitmap goes.
///
/// The section has the format of `wasmtime-environ`, in words of four bytes: the number of maps,
/// the code offset of each map, the position of each map, and the maps: the frame size in bytes,
/// the number of bitmaps, and these, a bit for each word.
fn call_everything_live(module: &mut CompiledModule) {
    let (words, _) = module.stack_maps.as_chunks_mut::<4>();
    let word = |words: &[[u8; 4]], at: usize| u32::from_le_bytes(words[at]);
    let maps = word(words, 0) as usize;
    for map in 0..maps {
        let map = 1 + 2 * maps + word(words, 1 + maps + map) as usize;
        let in_frame = 1_u32
            .checked_shl(word(words, map) / 4)
            .map_or(u32::MAX, |bit| bit - 1);
        words[map + 2] = (0x5555_5555 & in_frame).to_le_bytes();
    }
}

#[test]
fn a_page_shows_broken_contracts() {
    let data = data(&page(&assemble(HOLDS_ONE).unwrap(), call_everything_live));
    assert_eq!(
        (&data["totals"]["broken"], &data["totals"]["freed"]),
        (&json!(1), &json!(0))
    );
    let row = &data["rows"][0];
    assert_eq!(row["swept"], false);
    assert!(row["breaks"].as_u64().unwrap() >= 1);
    assert!(
        row["outcome"]
            .as_str()
            .unwrap()
            .contains("no reference of the activations table")
    );
    assert!(
        row["hint"]
            .as_str()
            .unwrap()
            .contains("A stack map is wrong")
    );
    let frames = data["details"][0]["frames"].as_array().unwrap();
    let slots = frames
        .iter()
        .map(|frame| frame["slots"].as_array().unwrap());
    let slots: Vec<_> = slots.flatten().collect();
    let is_wrong =
        |slot: &&&Value| ["unknown", "misaligned"].contains(&slot["holds"].as_str().unwrap());
    assert_eq!(
        slots.iter().filter(is_wrong).count(),
        integer(&row["breaks"])
    );
    assert!(slots.iter().any(|slot| slot["object"] == 2), "{slots:?}");
}

#[test]
fn a_page_shows_what_a_cycle_collection_freed() {
    let wasm = assemble(
        r#"(module
          (import "host" "cell" (func $cell (result externref)))
          (import "host" "cell_set" (func $cell_set (param externref i32 externref)))
          (import "host" "gc" (func $gc))
          (import "host" "collect_cycles" (func $collect_cycles))
          (func $circle (local $cell externref)
            (local.set $cell (call $cell))
            (call $cell_set (local.get $cell) (i32.const 0) (local.get $cell)))
          (func (export "main") (call $circle) (call $gc) (call $collect_cycles)))"#,
    );
    let data = data(&page(&wasm.unwrap(), |_| {}));
    let row = &data["rows"][1];
    assert_eq!(
        (&row["kind"], &row["freed"], &row["boxes"]),
        (&json!("cycles"), &json!(1), &json!(1))
    );
    assert_eq!(data["details"][1]["died"], json!([1]));
    assert_eq!(data["objects"]["1"]["died"], json!({ "cycles": 2 }));
    assert_eq!(data["rows"].as_array().unwrap().len(), 2);
}

#[test]
fn names_of_a_guest_are_text() {
    let name = r"</script><script>alert(1)//<!--";
    let wat = format!(
        r#"(module
          (import "host" "gc" (func $gc))
          (func $"{name}" (call $gc))
          (func (export "main") (call $"{name}")))"#,
    );
    let html = page(&assemble(&wat).unwrap(), |_| {});
    assert_eq!(html.matches("</script").count(), 2);
    assert_eq!(html.matches("<script").count(), 2);
    let functions = data(&html)["functions"].clone();
    assert_eq!(functions[0], format!("${name}"));
}

#[test]
fn a_long_run_makes_no_long_page() {
    let wasm = assemble(
        r#"(module
          (import "host" "new" (func $new (param i64) (result externref)))
          (import "host" "gc" (func $gc))
          (func $descend (param i32) (local $mine externref)
            (local.set $mine (call $new (i64.const 1)))
            (if (local.get 0)
              (then (call $descend (i32.sub (local.get 0) (i32.const 1))))
              (else (call $collect)))
            (drop (call $use (local.get $mine))))
          (func $use (param externref) (result externref) (local.get 0))
          (func $collect (local i32)
            (loop $again
              (drop (call $new (i64.const 2)))
              (call $gc)
              (br_if $again
                (i32.ne (i32.const 7000) (local.tee 0 (i32.add (local.get 0) (i32.const 1)))))))
          (func (export "main") (call $descend (i32.const 200))))"#,
    );
    let html = page(&wasm.unwrap(), |_| {});
    let megabytes = html.len() >> 20;
    assert!(megabytes < 5, "{megabytes} MiB");
    let data = data(&html);
    let rows = data["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &data["rowsLeftOut"]), (6000, &json!(1000)));
    assert_eq!((&rows[0]["n"], &rows[5999]["n"]), (&json!(1), &json!(7000)));
    let details = data["details"].as_array().unwrap();
    let left_out = integer(&data["detailsLeftOut"]);
    assert_eq!(details.len() + left_out, 7000);
    let last = details.last().unwrap();
    assert_eq!(last["n"], 7000);
    assert_eq!(last["frames"].as_array().unwrap().len(), 120);
    assert_eq!(
        (&last["frames_left_out"], &last["youngest"]),
        (&json!(83), &json!(100))
    );
}

#[test]
fn the_command_writes_a_page() {
    let folder = Folder::new("report");
    let program = folder.file("program.wat", HOLDS_ONE);
    let report = folder.file("report.html", "");
    for (engine, walker) in WALKS {
        let (engine, walker) = (engine.to_string(), walker.to_string());
        let mut args = vec!["run", &program, "--report", &report];
        args.extend(["--engine", &engine, "--walker", &walker]);
        let printed = accepts(&args);
        let line = format!("report: {report}");
        assert!(printed.contains(&line), "{printed:?}");
        let html = fs::read_to_string(&report).unwrap();
        assert!(html.starts_with("<!doctype html>"));
        let data = data(&html);
        assert_eq!(
            (&data["walker"], &data["rows"][0]["roots"]),
            (&json!(walker), &json!(1))
        );
    }
    // A guest that traps has a page, too.
    let traps = HOLDS_ONE.replace("(call $gc)", "(call $gc) unreachable");
    let traps = folder.file("traps.wat", traps);
    refuses(&["run", &traps, "--report", &report], "trap: unreachable");
    let html = fs::read_to_string(&report).unwrap();
    assert_eq!(data(&html)["totals"]["collections"], 1);
}

#[test]
fn a_page_that_cannot_be_written_is_told_before_the_guest_runs() {
    let folder = Folder::new("no-report");
    let program = folder.file("program.wat", "(module (func $s unreachable) (start $s))");
    for path in ["/no/such/folder/report.html", folder.0.to_str().unwrap()] {
        let words = format!("cannot write {path}: ");
        refuses(&["run", &program, "--report", path], &words);
    }
    refuses(&["run", &program, "--report"], "a value is required");
}
