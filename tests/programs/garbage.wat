;; A loop that makes references and forgets them: they are freed while it runs, without being asked.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (table $one 1 externref)

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; The most that was ever alive at once.
  (func $churn (param $rounds i64) (result i64)
    (local $i i64) (local $peak i64) (local $now i64) (local $previous externref)
    (local.set $previous (call $new (i64.const 0)))
    (loop $next
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (if (i64.ne (call $value (local.get $previous)) (i64.sub (local.get $i) (i64.const 1)))
        (then unreachable))
      (local.set $previous (call $new (local.get $i)))
      (local.set $now (call $live))
      (if (i64.gt_u (local.get $now) (local.get $peak))
        (then (local.set $peak (local.get $now))))
      (br_if $next (i64.lt_u (local.get $i) (local.get $rounds))))
    (local.get $peak))

  ;; Takes the same reference out of a table again and again, which fills the table of references.
  (func $scan (param $rounds i64)
    (local $i i64)
    (table.set $one (i32.const 0) (call $new (i64.const 6)))
    (loop $next
      (if (i64.ne (call $value (table.get $one (i32.const 0))) (i64.const 6)) (then unreachable))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $next (i64.lt_u (local.get $i) (local.get $rounds))))
    (call $expect (i64.const 1))
    (table.set $one (i32.const 0) (ref.null extern)))

  (func (export "main")
    (if (i64.ge_u (call $churn (i64.const 20000)) (i64.const 10000)) (then unreachable))
    (call $expect (i64.const 0))
    (call $scan (i64.const 20000))
    (call $expect (i64.const 0))))
