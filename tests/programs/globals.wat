;; References at rest in globals.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (global $x (mut externref) (ref.null extern))
  (global $y (mut externref) (ref.null extern))
  (global $never (export "never") externref (ref.null extern))

  (func $alive (param $count i64)
    (if (i64.ne (call $live) (local.get $count)) (then unreachable)))

  (func $expect (param $count i64)
    (call $gc)
    (call $alive (local.get $count)))

  (func $swap
    (local $old externref)
    (local.set $old (global.get $x))
    (global.set $x (global.get $y))
    (global.set $y (local.get $old)))

  (func $check (param $in_x i64) (param $in_y i64)
    (if (i64.ne (call $value (global.get $x)) (local.get $in_x)) (then unreachable))
    (if (i64.ne (call $value (global.get $y)) (local.get $in_y)) (then unreachable)))

  (func (export "main")
    (local $i i32) (local $taken externref)
    (if (i32.eqz (ref.is_null (global.get $never))) (then unreachable))
    (global.set $x (call $new (i64.const 1)))
    (global.set $y (call $new (i64.const 2)))
    (call $expect (i64.const 2))
    (loop $next
      (call $swap)
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1001))))
    (call $check (i64.const 2) (i64.const 1))
    (call $expect (i64.const 2))

    ;; The frame's copy outlives the global's.
    (local.set $taken (global.get $x))
    (global.set $x (ref.null extern))
    (call $expect (i64.const 2))
    (if (i64.ne (call $value (local.get $taken)) (i64.const 2)) (then unreachable))
    (call $expect (i64.const 1))

    ;; Nothing but the global holds it, so it dies with the assignment.
    (global.set $y (global.get $y))
    (call $expect (i64.const 1))
    (global.set $y (ref.null extern))
    (call $alive (i64.const 0))

    ;; Both globals, one object.
    (global.set $x (call $new (i64.const 3)))
    (global.set $y (global.get $x))
    (call $expect (i64.const 1))
    (global.set $x (ref.null extern))
    (call $alive (i64.const 1))
    (global.set $y (ref.null extern))
    (call $alive (i64.const 0))))
