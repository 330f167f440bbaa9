;; Cycles with one member in a slot of a table, or in a global, which keeps all of them alive until it is overwritten.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "cell" (func $cell (result externref)))
  (import "host" "cell_get" (func $cell_get (param externref i32) (result externref)))
  (import "host" "cell_set" (func $cell_set (param externref i32 externref)))
  (import "host" "collect_cycles" (func $collect_cycles))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "print_i64" (func $print_i64 (param i64)))

  (table $shelf 4 externref)
  (global $slot (mut externref) (ref.null extern))

  ;; No frame of this function is left when cycles are collected.
  (func $expect (param $alive i64)
    (call $gc)
    (call $collect_cycles)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; A ring of cells that share one number, of which one is returned.
  (func $ring (param $cells i32) (param $number i64) (result externref)
    (local $first externref) (local $last externref) (local $new externref) (local $shared externref)
    (local.set $shared (call $new (local.get $number)))
    (local.set $first (call $cell))
    (local.set $last (local.get $first))
    (call $cell_set (local.get $first) (i32.const 1) (local.get $shared))
    (loop $more
      (local.set $cells (i32.sub (local.get $cells) (i32.const 1)))
      (if (local.get $cells)
        (then
          (local.set $new (call $cell))
          (call $cell_set (local.get $new) (i32.const 1) (local.get $shared))
          (call $cell_set (local.get $last) (i32.const 0) (local.get $new))
          (local.set $last (local.get $new))
          (br $more))))
    (call $cell_set (local.get $last) (i32.const 0) (local.get $first))
    (local.get $first))

  ;; The number of the cell after one.
  (func $number_behind (param $cell externref) (result i64)
    (call $value
      (call $cell_get (call $cell_get (local.get $cell) (i32.const 0)) (i32.const 1))))

  (func $in_a_table
    (table.set $shelf (i32.const 2) (call $ring (i32.const 5) (i64.const 7)))
    (call $expect (i64.const 6))
    (if (i64.ne (call $number_behind (table.get $shelf (i32.const 2))) (i64.const 7))
      (then unreachable))
    ;; A second slot takes over.
    (table.set $shelf (i32.const 0) (table.get $shelf (i32.const 2)))
    (table.set $shelf (i32.const 2) (ref.null extern))
    (call $expect (i64.const 6))
    (table.set $shelf (i32.const 0) (ref.null extern))
    (call $expect (i64.const 0)))

  ;; The same by a copy and a fill.
  (func $in_bulk
    (table.set $shelf (i32.const 0) (call $ring (i32.const 3) (i64.const 8)))
    (table.copy $shelf $shelf (i32.const 1) (i32.const 0) (i32.const 3))
    (table.fill $shelf (i32.const 0) (ref.null extern) (i32.const 1))
    (call $expect (i64.const 4))
    (table.fill $shelf (i32.const 0) (ref.null extern) (i32.const 4))
    (call $expect (i64.const 0)))

  ;; Two rings; one slot is overwritten with a member of the other.
  (func $in_a_global
    (global.set $slot (call $ring (i32.const 10) (i64.const 9)))
    (call $expect (i64.const 11))
    (global.set $slot (call $ring (i32.const 2) (i64.const 10)))
    (call $expect (i64.const 3))
    (call $print_i64 (call $number_behind (global.get $slot)))
    (global.set $slot (ref.null extern))
    (call $expect (i64.const 0)))

  (func (export "main")
    (call $in_a_table)
    (call $in_bulk)
    (call $in_a_global)
    ;; A cycle in a table at the end goes with its store.
    (table.set $shelf (i32.const 3) (call $ring (i32.const 4) (i64.const 11)))
    (call $expect (i64.const 5))
    (call $print_i64 (call $live))))
