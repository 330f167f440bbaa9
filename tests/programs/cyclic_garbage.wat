;; A loop that makes cycles and forgets them: they are freed while it runs, without being asked.
(module
  (import "host" "cell" (func $cell (result externref)))
  (import "host" "cell_get" (func $cell_get (param externref i32) (result externref)))
  (import "host" "cell_set" (func $cell_set (param externref i32 externref)))
  (import "host" "collect_cycles" (func $collect_cycles))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "same" (func $same (param externref externref) (result i32)))
  (import "host" "print_i64" (func $print_i64 (param i64)))

  ;; A ring of three cells, of which one is returned.
  (func $ring (result externref)
    (local $first externref) (local $second externref) (local $third externref)
    (local.set $first (call $cell))
    (local.set $second (call $cell))
    (local.set $third (call $cell))
    (call $cell_set (local.get $first) (i32.const 0) (local.get $second))
    (call $cell_set (local.get $second) (i32.const 0) (local.get $third))
    (call $cell_set (local.get $third) (i32.const 0) (local.get $first))
    (local.get $first))

  ;; Fails unless the way around a ring leads back.
  (func $expect_ring (param $first externref)
    (if
      (i32.eqz
        (call $same
          (local.get $first)
          (call $cell_get
            (call $cell_get
              (call $cell_get (local.get $first) (i32.const 0))
              (i32.const 0))
            (i32.const 0))))
      (then unreachable)))

  ;; The most that was ever alive at once.
  (func $churn (param $rings i64) (result i64)
    (local $peak i64) (local $now i64) (local $kept externref)
    (local.set $kept (call $ring))
    (loop $more
      (call $expect_ring (call $ring))
      (local.set $now (call $live))
      (if (i64.gt_u (local.get $now) (local.get $peak)) (then (local.set $peak (local.get $now))))
      (local.set $rings (i64.sub (local.get $rings) (i64.const 1)))
      (br_if $more (i64.ne (local.get $rings) (i64.const 0))))
    (call $expect_ring (local.get $kept))
    (local.get $peak))

  (func (export "main")
    (if (i64.ge_u (call $churn (i64.const 3000)) (i64.const 4500)) (then unreachable))
    (call $gc)
    (call $collect_cycles)
    (call $print_i64 (call $live))))
