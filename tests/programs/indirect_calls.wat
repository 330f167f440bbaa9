;; References through call_indirect: as arguments, as results, and beside functions in tables.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (type $step (func (param externref i64) (result externref)))
  (type $make (func (param i64) (result externref)))
  (table $steps funcref (elem $keep $replace $collect_and_keep $deeper))
  (table $makers funcref (elem $new $make_twice))

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  (func $keep (type $step) (local.get 0))
  (func $replace (type $step) (call $new (local.get 1)))
  (func $collect_and_keep (type $step) (call $gc) (local.get 0))

  ;; Calls another step with its own argument live across the call.
  (func $deeper (type $step)
    (local $other externref)
    (local.set $other
      (call_indirect $steps (type $step)
        (local.get 0) (local.get 1) (i32.wrap_i64 (i64.rem_u (local.get 1) (i64.const 3)))))
    (if (i64.lt_s (call $value (local.get 0)) (i64.const 0)) (then unreachable))
    (local.get $other))

  ;; The first one is dead before the second is made.
  (func $make_twice (type $make)
    (drop (call $new (i64.const 99)))
    (call $new (local.get 0)))

  (func (export "main")
    (local $i i64) (local $current externref) (local $first externref)
    (local.set $first (call_indirect $makers (type $make) (i64.const 7) (i32.const 0)))
    (local.set $current (call_indirect $makers (type $make) (i64.const 8) (i32.const 1)))
    (call $expect (i64.const 2))
    (loop $next
      (local.set $current
        (call_indirect $steps (type $step)
          (local.get $current)
          (local.get $i)
          (i32.wrap_i64 (i64.and (local.get $i) (i64.const 3)))))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $next (i64.lt_u (local.get $i) (i64.const 200))))
    (call $expect (i64.const 2))
    ;; The last replacement was by step 1 at 197, or by step 3 at 199: 199 % 3 = 1.
    (if (i64.ne (call $value (local.get $current)) (i64.const 199)) (then unreachable))
    (if (i64.ne (call $value (local.get $first)) (i64.const 7)) (then unreachable))
    (call $expect (i64.const 0))))
