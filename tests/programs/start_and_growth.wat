;; A start function that leaves references behind, and memories and tables that grow under frames that hold some.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (memory 1 64)
  (table $slots 1 10000 externref)
  (global $kept (mut externref) (ref.null extern))

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  (func $start
    (local $mine externref)
    (local.set $mine (call $new (i64.const 1)))
    (global.set $kept (call $new (i64.const 2)))
    (table.set $slots (i32.const 0) (call $new (i64.const 3)))
    (call $expect (i64.const 3))
    (if (i64.ne (call $value (local.get $mine)) (i64.const 1)) (then unreachable)))
  (start $start)

  ;; Grows both in every frame, and fills what is new with the frame's own reference.
  (func $grow (param $depth i32)
    (local $mine externref) (local $first i32)
    (if (i32.eqz (local.get $depth))
      (then
        (call $expect (i64.const 17))
        (return)))
    (local.set $mine (call $new (i64.extend_i32_u (local.get $depth))))
    (local.set $first (table.grow $slots (local.get $mine) (i32.const 100)))
    (if (i32.eq (local.get $first) (i32.const -1)) (then unreachable))
    (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
    (i32.store
      (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4))
      (local.get $depth))
    (call $grow (i32.sub (local.get $depth) (i32.const 1)))
    (if
      (i64.ne
        (call $value (table.get $slots (i32.add (local.get $first) (i32.const 99))))
        (call $value (local.get $mine)))
      (then unreachable)))

  (func (export "main")
    (call $expect (i64.const 2))
    (call $grow (i32.const 15))
    (if (i32.ne (table.size $slots) (i32.const 1501)) (then unreachable))
    (if (i32.ne (memory.size) (i32.const 16)) (then unreachable))
    (call $expect (i64.const 17))
    (if (i64.ne (call $value (global.get $kept)) (i64.const 2)) (then unreachable))
    (if (i64.ne (call $value (table.get $slots (i32.const 0))) (i64.const 3)) (then unreachable))
    ;; Fifteen objects, a hundred times each.
    (table.fill $slots (i32.const 1) (ref.null extern) (i32.const 1500))
    (call $expect (i64.const 2))
    ;; The rest is released with the instance.
    (table.set $slots (i32.const 0) (ref.null extern))
    (call $expect (i64.const 1))))
