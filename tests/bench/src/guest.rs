//! The Wasm modules, the same for every engine.
//!
//! A timed loop calls the import `bench.next`, runs its body as often as the
//! result says, and calls again, until the result is 0.

/// The imports of every guest.
const IMPORTS: &str = r#"
    (import "host" "new" (func $new (param i64) (result externref)))
    (import "host" "value" (func $value (param externref) (result i64)))
    (import "host" "gc" (func $gc))
    (import "bench" "next" (func $next (result i32)))
    (import "bench" "new_watched" (func $new_watched (result externref)))
    (import "bench" "alive" (func $alive (result i32)))
    (import "bench" "new_handle" (func $new_handle (param i64) (result i32)))
    (import "bench" "handle_value" (func $handle_value (param i32) (result i64)))
    (import "bench" "drop_handle" (func $drop_handle (param i32)))
    (import "bench" "walk" (func $walk))
"#;

/// The exports that W1 calls.
pub(crate) const EXPORTS: &str = r#"
    (func (export "empty"))
    (func (export "same") (param externref) (result externref) (local.get 0))"#;

/// A module with the imports and `items`.
pub(crate) fn module(items: &str) -> String {
    format!("(module {IMPORTS} {items})")
}

/// The function `$timed`, which runs `setup` once and then times `body`.
///
/// The body may use `$times`, which counts down, and the locals declared in
/// `locals`.
pub(crate) fn timed(locals: &str, setup: &str, body: &str) -> String {
    format!(
        r"(func $timed (param $x i32) (local $times i32) {locals}
            {setup}
            (loop $batches
              (local.set $times (call $next))
              (if (i32.eqz (local.get $times)) (then (return)))
              (loop $each
                {body}
                (br_if $each (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
              (br $batches)))"
    )
}

/// The export `run`, which times `body`.
pub(crate) fn timed_run(locals: &str, setup: &str, body: &str) -> String {
    let timed = timed(locals, setup, body);
    format!(
        r#"{timed}
        (func (export "run") (param $x i32) (result i32)
          (call $timed (local.get $x))
          (i32.const 0))"#
    )
}

/// The table `$table` of `size` elements, and exports that fill and clear it.
pub(crate) fn table(size: u32) -> String {
    format!(
        r#"(table $table {size} externref)
        (func (export "fill") (param $x i32) (result i32) (local $i i32)
          (block $full
            (loop $each
              (br_if $full (i32.ge_u (local.get $i) (local.get $x)))
              (table.set $table (local.get $i) (call $new (i64.extend_i32_u (local.get $i))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $each)))
          (local.get $i))
        (func (export "clear") (param $x i32) (result i32)
          (table.fill $table (i32.const 0) (ref.null extern) (local.get $x))
          (i32.const 0))
        (func (export "collect") (param $x i32) (result i32)
          (call $gc)
          (i32.const 0))"#
    )
}

/// The references that the frames of a recursion hold while the function below them runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing.
    Nothing,
    /// A number of references, made in the frame.
    Own(u32),
    /// The same reference in all frames.
    Shared,
}

/// The export `run`, which calls `$timed` at the bottom of `x` frames.
pub(crate) fn recursion(held: Held, body: &str) -> String {
    let timed = timed("", "", body);
    let count = match held {
        Held::Own(count) => count,
        _ => 0,
    };
    let list = |each: &dyn Fn(u32) -> String| (0..count).map(each).collect::<String>();
    let locals = list(&|index| format!("(local $held{index} externref)"));
    let make = list(&|index| format!("(local.set $held{index} (call $new (i64.const {index})))"));
    let use_own = list(&|index| format!("(i32.add (ref.is_null (local.get $held{index})))"));
    let use_shared = match held {
        Held::Shared => "(i32.add (ref.is_null (local.get $shared)))",
        _ => "",
    };
    format!(
        r#"{timed}
        (func $descend (param $frames i32) (param $shared externref) (result i32) {locals}
          {make}
          (if (i32.le_u (local.get $frames) (i32.const 1))
            (then (call $timed (i32.const 0)) (return (i32.const 0))))
          (call $descend (i32.sub (local.get $frames) (i32.const 1)) (local.get $shared))
          {use_own} {use_shared}
          (i32.add (i32.const 1)))
        (func (export "run") (param $x i32) (result i32)
          (call $descend (local.get $x) (call $new (i64.const 0))))"#
    )
}

#[cfg(test)]
mod tests {
    use super::{Held, module, recursion, table, timed_run};

    #[test]
    fn every_template_is_wasm() {
        let run = timed_run("(local $a externref)", "", "(call $gc)");
        for items in [
            format!("{} {run}", table(16)),
            recursion(Held::Nothing, "(call $gc)"),
            recursion(Held::Own(4), "(call $gc)"),
            recursion(Held::Shared, "(drop (call $new (i64.const 1)))"),
        ] {
            let text = module(&items);
            wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        }
    }
}
