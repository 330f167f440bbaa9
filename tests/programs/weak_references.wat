;; Weak references: to cells that die with their last reference, and to cells in cycles.
(module
  (import "host" "cell" (func $cell (result externref)))
  (import "host" "cell_get" (func $cell_get (param externref i32) (result externref)))
  (import "host" "cell_set" (func $cell_set (param externref i32 externref)))
  (import "host" "collect_cycles" (func $collect_cycles))
  (import "host" "weak" (func $weak (param externref) (result externref)))
  (import "host" "upgrade" (func $upgrade (param externref) (result externref)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "same" (func $same (param externref externref) (result i32)))
  (import "host" "new_finalized" (func $new_finalized (param i64 funcref) (result externref)))
  (import "host" "print_i64" (func $print_i64 (param i64)))

  (global $watched (mut externref) (ref.null extern))
  (global $finalized (mut i64) (i64.const 0))
  (elem declare func $look)

  (func $expect (param $alive i64)
    (call $gc)
    (call $collect_cycles)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  (func $pair (result externref)
    (local $one externref) (local $other externref)
    (local.set $one (call $cell))
    (local.set $other (call $cell))
    (call $cell_set (local.get $one) (i32.const 0) (local.get $other))
    (call $cell_set (local.get $other) (i32.const 0) (local.get $one))
    (local.get $one))

  (func $is_dead (param $weak externref) (result i32)
    (ref.is_null (call $upgrade (local.get $weak))))

  ;; One that no cycle needs is dead without a collection of cycles.
  (func $of_a_cell
    (local $cell externref) (local $weak externref)
    (local.set $cell (call $cell))
    (local.set $weak (call $weak (local.get $cell)))
    (if (i32.eqz (call $same (local.get $cell) (call $upgrade (local.get $weak)))) (then unreachable))
    (local.set $cell (ref.null extern))
    (call $gc)
    (if (i64.ne (call $live) (i64.const 1)) (then unreachable))
    (if (i32.eqz (call $is_dead (local.get $weak))) (then unreachable)))

  (func $of_a_pair
    (local $pair externref) (local $weak externref)
    (local.set $pair (call $pair))
    (local.set $weak (call $weak (local.get $pair)))
    (call $expect (i64.const 3))
    (if (i32.eqz (call $same (local.get $pair) (call $upgrade (local.get $weak)))) (then unreachable))
    (local.set $pair (ref.null extern))
    (call $expect (i64.const 1))
    (if (i32.eqz (call $is_dead (local.get $weak))) (then unreachable)))

  ;; An upgrade's result is held like any reference. Here it is the only one from outside the cycle.
  (func $upgraded
    (local $pair externref) (local $weak externref)
    (local.set $weak (call $weak (call $pair)))
    (local.set $pair (call $upgrade (local.get $weak)))
    (call $expect (i64.const 3))
    (if (i32.eqz (call $same (local.get $pair) (call $upgrade (local.get $weak)))) (then unreachable))
    (local.set $pair (ref.null extern))
    (call $expect (i64.const 1))
    (if (i32.eqz (call $is_dead (local.get $weak))) (then unreachable)))

  ;; A tree whose children know their parent weakly is no cycle.
  (func $in_a_tree
    (local $parent externref) (local $child externref)
    (local.set $parent (call $cell))
    (local.set $child (call $cell))
    (call $cell_set (local.get $parent) (i32.const 0) (local.get $child))
    (call $cell_set (local.get $child) (i32.const 0) (call $weak (local.get $parent)))
    (if
      (i32.eqz
        (call $same
          (local.get $parent)
          (call $upgrade (call $cell_get (local.get $child) (i32.const 0)))))
      (then unreachable))
    (local.set $parent (ref.null extern))
    (local.set $child (ref.null extern))
    (call $gc)
    (if (i64.ne (call $live) (i64.const 0)) (then unreachable)))

  ;; A destructor in a cycle finds the cycle dead, and may make and collect cycles of its own.
  (func $look (param $number i64)
    (if (i32.eqz (call $is_dead (global.get $watched))) (then unreachable))
    (drop (call $pair))
    (call $collect_cycles)
    (global.set $finalized (i64.add (global.get $finalized) (local.get $number))))

  (func $in_a_destructor
    (local $pair externref)
    (local.set $pair (call $pair))
    (global.set $watched (call $weak (local.get $pair)))
    (call $cell_set (local.get $pair) (i32.const 1)
      (call $new_finalized (i64.const 5) (ref.func $look)))
    (call $expect (i64.const 4))
    (if (i32.eqz (call $same (local.get $pair) (call $upgrade (global.get $watched))))
      (then unreachable))
    (call $gc)
    (call $collect_cycles)
    (call $print_i64 (global.get $finalized))
    (call $expect (i64.const 1))
    (global.set $watched (ref.null extern)))

  (func (export "main")
    (call $of_a_cell)
    (call $of_a_pair)
    (call $upgraded)
    (call $in_a_tree)
    (call $in_a_destructor)
    (call $expect (i64.const 0))
    (call $print_i64 (call $live))))
