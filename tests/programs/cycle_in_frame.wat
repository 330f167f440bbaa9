;; Cycles that only frames hold, deep below the one that collects.
(module
  (import "host" "cell" (func $cell (result externref)))
  (import "host" "cell_get" (func $cell_get (param externref i32) (result externref)))
  (import "host" "cell_set" (func $cell_set (param externref i32 externref)))
  (import "host" "collect_cycles" (func $collect_cycles))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "same" (func $same (param externref externref) (result i32)))
  (import "host" "call" (func $call (param funcref)))
  (import "host" "print_i64" (func $print_i64 (param i64)))

  (elem declare func $deep)

  (func $expect (param $alive i64)
    (call $gc)
    (call $collect_cycles)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; Two cells that refer to each other, of which one is returned.
  (func $pair (result externref)
    (local $one externref) (local $other externref)
    (local.set $one (call $cell))
    (local.set $other (call $cell))
    (call $cell_set (local.get $one) (i32.const 0) (local.get $other))
    (call $cell_set (local.get $other) (i32.const 0) (local.get $one))
    (local.get $one))

  (func $expect_pair (param $one externref)
    (if
      (i32.eqz
        (call $same
          (local.get $one)
          (call $cell_get (call $cell_get (local.get $one) (i32.const 0)) (i32.const 0))))
      (then unreachable)))

  ;; Goes down without holding anything.
  (func $descend (param $depth i32) (param $alive i64)
    (if (i32.eqz (local.get $depth))
      (then (call $expect (local.get $alive)))
      (else (call $descend (i32.sub (local.get $depth) (i32.const 1)) (local.get $alive)))))

  ;; Only the frame at the top of the stack's deep end holds the pair.
  (func $held_by_the_first_frame
    (local $mine externref)
    (local.set $mine (call $pair))
    (call $descend (i32.const 100) (i64.const 2))
    (call $expect_pair (local.get $mine))
    ;; Nothing uses it any more, so it may go although the frame stays.
    (call $descend (i32.const 100) (i64.const 0)))

  ;; Every frame makes a pair that it uses before the call below it, and one that it uses after it.
  (func $every_frame (param $depth i64)
    (local $before externref) (local $after externref)
    (if (i64.eqz (local.get $depth))
      (then
        (call $expect (i64.const 40))
        (return)))
    (local.set $before (call $pair))
    (local.set $after (call $pair))
    (call $expect_pair (local.get $before))
    (call $every_frame (i64.sub (local.get $depth) (i64.const 1)))
    (call $expect_pair (local.get $after))
    ;; On the way back the pairs of the frames below are gone, and so is this frame's.
    (call $expect (i64.mul (i64.const 2) (i64.sub (i64.const 20) (local.get $depth)))))

  ;; An activation of its own, above frames of the host.
  (func $deep
    (call $descend (i32.const 10) (i64.const 2)))

  (func $held_below_the_host
    (local $mine externref)
    (local.set $mine (call $pair))
    (call $call (ref.func $deep))
    (call $expect_pair (local.get $mine)))

  ;; A frame holds one cell, which holds a chain that ends in a pair.
  (func $held_at_one_remove
    (local $mine externref) (local $second externref)
    (local.set $mine (call $cell))
    (local.set $second (call $cell))
    (call $cell_set (local.get $mine) (i32.const 0) (local.get $second))
    (call $cell_set (local.get $second) (i32.const 1) (call $pair))
    (call $descend (i32.const 10) (i64.const 4))
    (call $expect_pair
      (call $cell_get (call $cell_get (local.get $mine) (i32.const 0)) (i32.const 1))))

  (func (export "main")
    (call $held_by_the_first_frame)
    (call $every_frame (i64.const 20))
    (call $held_below_the_host)
    (call $held_at_one_remove)
    (call $expect (i64.const 0))
    (call $print_i64 (call $live))))
