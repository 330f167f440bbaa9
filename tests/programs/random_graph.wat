;; A graph of cells with random edges, beside a model of it in memory that says which cells are reachable.
(module
  (import "host" "cell" (func $cell (result externref)))
  (import "host" "cell_get" (func $cell_get (param externref i32) (result externref)))
  (import "host" "cell_set" (func $cell_set (param externref i32 externref)))
  (import "host" "collect_cycles" (func $collect_cycles))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "same" (func $same (param externref externref) (result i32)))
  (import "host" "print_i64" (func $print_i64 (param i64)))

  ;; The cells that are held, and the number of each, counted from 1; 0 stands for null.
  (table $held 8 externref)
  ;; Memory: at 0 the numbers of the held cells, at 1024 the two edges of each cell, at 16384 a byte for each cell that
  ;; says whether it is reachable.
  (memory 1)
  (global $slots i32 (i32.const 8))
  (global $made (mut i32) (i32.const 0))
  (global $state (mut i32) (i32.const 12345))
  ;; The most cells that were reachable at a check, and the sum over all checks.
  (global $most (mut i64) (i64.const 0))
  (global $sum (mut i64) (i64.const 0))

  ;; The next random number below a bound.
  (func $below (param $bound i32) (result i32)
    (global.set $state
      (i32.add (i32.mul (global.get $state) (i32.const 1103515245)) (i32.const 12345)))
    (i32.rem_u (i32.shr_u (global.get $state) (i32.const 16)) (local.get $bound)))

  (func $number (param $slot i32) (result i32)
    (i32.load (i32.shl (local.get $slot) (i32.const 2))))

  (func $hold (param $slot i32) (param $cell externref) (param $number i32)
    (table.set $held (local.get $slot) (local.get $cell))
    (i32.store (i32.shl (local.get $slot) (i32.const 2)) (local.get $number)))

  (func $edge_address (param $number i32) (param $edge i32) (result i32)
    (i32.add
      (i32.const 1024)
      (i32.shl
        (i32.add (i32.shl (local.get $number) (i32.const 1)) (local.get $edge))
        (i32.const 2))))

  ;; Lets a held cell refer to another.
  (func $connect (param $from i32) (param $edge i32) (param $to i32)
    (if (i32.eqz (call $number (local.get $from))) (then (return)))
    (call $cell_set
      (table.get $held (local.get $from))
      (local.get $edge)
      (table.get $held (local.get $to)))
    (i32.store
      (call $edge_address (call $number (local.get $from)) (local.get $edge))
      (call $number (local.get $to))))

  ;; Holds a new cell, which refers to the one that was held before.
  (func $hold_new (param $slot i32) (param $edge i32)
    (local $new externref)
    (global.set $made (i32.add (global.get $made) (i32.const 1)))
    (local.set $new (call $cell))
    (call $cell_set (local.get $new) (local.get $edge) (table.get $held (local.get $slot)))
    (i32.store
      (call $edge_address (global.get $made) (local.get $edge))
      (call $number (local.get $slot)))
    (call $hold (local.get $slot) (local.get $new) (global.get $made)))

  ;; Holds the cell that a held one refers to.
  (func $follow (param $slot i32) (param $from i32) (param $edge i32)
    (if (i32.eqz (call $number (local.get $from))) (then (return)))
    (call $hold
      (local.get $slot)
      (call $cell_get (table.get $held (local.get $from)) (local.get $edge))
      (i32.load (call $edge_address (call $number (local.get $from)) (local.get $edge)))))

  (func $step
    (local $slot i32) (local $other i32) (local $edge i32) (local $choice i32)
    (local.set $slot (call $below (global.get $slots)))
    (local.set $other (call $below (global.get $slots)))
    (local.set $edge (call $below (i32.const 2)))
    (local.set $choice (call $below (i32.const 10)))
    (if (i32.lt_u (local.get $choice) (i32.const 3))
      (then (call $hold_new (local.get $slot) (local.get $edge)) (return)))
    (if (i32.lt_u (local.get $choice) (i32.const 7))
      (then (call $connect (local.get $slot) (local.get $edge) (local.get $other)) (return)))
    (if (i32.lt_u (local.get $choice) (i32.const 9))
      (then (call $follow (local.get $slot) (local.get $other) (local.get $edge)) (return)))
    (call $hold (local.get $slot) (ref.null extern) (i32.const 0)))

  ;; Marks a cell of the model; whether it was not marked before.
  (func $mark (param $number i32) (result i32)
    (if (i32.eqz (local.get $number)) (then (return (i32.const 0))))
    (if (i32.load8_u offset=16384 (local.get $number)) (then (return (i32.const 0))))
    (i32.store8 offset=16384 (local.get $number) (i32.const 1))
    (i32.const 1))

  ;; The number of cells that the model says are reachable.
  (func $reachable (result i64)
    (local $index i32) (local $count i32) (local $before i32)
    (memory.fill (i32.const 16384) (i32.const 0) (i32.add (global.get $made) (i32.const 1)))
    (loop $next
      (local.set $count (i32.add (local.get $count) (call $mark (call $number (local.get $index)))))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $index) (global.get $slots))))
    (loop $again
      (local.set $before (local.get $count))
      (local.set $index (i32.const 1))
      (loop $next
        (if (i32.load8_u offset=16384 (local.get $index))
          (then
            (local.set $count
              (i32.add
                (local.get $count)
                (i32.add
                  (call $mark (i32.load (call $edge_address (local.get $index) (i32.const 0))))
                  (call $mark (i32.load (call $edge_address (local.get $index) (i32.const 1)))))))))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br_if $next (i32.le_u (local.get $index) (global.get $made))))
      (br_if $again (i32.ne (local.get $count) (local.get $before))))
    (i64.extend_i32_u (local.get $count)))

  ;; Held cells are the same where the model says so.
  (func $expect_identities
    (local $one i32) (local $other i32)
    (loop $next
      (local.set $other (local.get $one))
      (loop $inner
        (if
          (i32.ne
            (call $same (table.get $held (local.get $one)) (table.get $held (local.get $other)))
            (i32.eq (call $number (local.get $one)) (call $number (local.get $other))))
          (then unreachable))
        (local.set $other (i32.add (local.get $other) (i32.const 1)))
        (br_if $inner (i32.lt_u (local.get $other) (global.get $slots))))
      (local.set $one (i32.add (local.get $one) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $one) (global.get $slots)))))

  (func $check
    (local $expected i64)
    (call $gc)
    (call $collect_cycles)
    (local.set $expected (call $reachable))
    (if (i64.ne (call $live) (local.get $expected)) (then unreachable))
    (global.set $sum (i64.add (global.get $sum) (local.get $expected)))
    (if (i64.gt_u (local.get $expected) (global.get $most))
      (then (global.set $most (local.get $expected)))))

  (func (export "main")
    (local $round i32)
    (loop $again
      (call $step)
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (if (i32.eqz (i32.rem_u (local.get $round) (i32.const 7))) (then (call $check)))
      (if (i32.eqz (i32.rem_u (local.get $round) (i32.const 200))) (then (call $expect_identities)))
      (br_if $again (i32.lt_u (local.get $round) (i32.const 2000))))
    (call $print_i64 (i64.extend_i32_u (global.get $made)))
    (call $print_i64 (global.get $most))
    (call $print_i64 (global.get $sum))
    ;; One slot keeps what it reaches; without any, all are garbage.
    (table.fill $held (i32.const 1) (ref.null extern) (i32.const 7))
    (memory.fill (i32.const 4) (i32.const 0) (i32.const 28))
    (call $check)
    (table.set $held (i32.const 0) (ref.null extern))
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 4))
    (call $check)
    (call $print_i64 (call $live))))
