;; Goes on while the host has no memory: objects cannot be made, tables cannot grow, but collections still happen and
;; nothing that is held is lost.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "fail_every" (func $fail_every (param i32)))
  (import "host" "failures" (func $failures (result i64)))

  (table $held 64 externref)
  (table $recent 16 externref)
  (memory 1 16)

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  (func $check_held (param $i i32) (param $reference externref)
    (if (i64.ne (call $value (local.get $reference)) (i64.extend_i32_u (local.get $i)))
      (then unreachable)))

  ;; Frames that hold references while nothing can be allocated.
  (func $descend (param $depth i32)
    (local $mine externref)
    (if (i32.eqz (local.get $depth)) (then (call $gc) (return)))
    (local.set $mine (table.get $held (local.get $depth)))
    (call $descend (i32.sub (local.get $depth) (i32.const 1)))
    (call $check_held (local.get $depth) (local.get $mine)))

  ;; One object is made and kept for a while, and one that is held is looked at; 1 if there was no memory.
  (func $step (param $i i32) (result i64)
    (local $made externref) (local $old externref)
    (local.set $old (table.get $held (i32.rem_u (local.get $i) (i32.const 64))))
    (local.set $made (call $new (i64.extend_i32_u (local.get $i))))
    (call $check_held (i32.rem_u (local.get $i) (i32.const 64)) (local.get $old))
    (if (ref.is_null (local.get $made)) (then (return (i64.const 1))))
    (call $check_held (local.get $i) (local.get $made))
    (table.set $recent (i32.rem_u (local.get $i) (i32.const 16)) (local.get $made))
    (i64.const 0))

  ;; Makes every n-th request fail meanwhile; the number of objects that could not be made.
  (func (export "main") (param $period i32) (result i64)
    (local $i i32) (local $refused i64) (local $mine externref) (local $before i64)
    (local.set $mine (call $new (i64.const 7777)))
    (loop $fill
      (table.set $held (local.get $i) (call $new (i64.extend_i32_u (local.get $i))))
      (br_if $fill
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))
    (local.set $before (call $failures))
    (call $fail_every (local.get $period))
    (local.set $i (i32.const 0))
    (loop $next
      (local.set $refused (i64.add (local.get $refused) (call $step (local.get $i))))
      (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 256)))
        (then (call $descend (i32.const 20))))
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3000))))
    (if (i32.eq (local.get $period) (i32.const 1))
      (then
        (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
        (if (i32.ne (table.grow $held (ref.null extern) (i32.const 1000)) (i32.const -1))
          (then unreachable))))
    (call $fail_every (i32.const 0))
    (if (i64.gt_u (local.get $refused) (i64.sub (call $failures) (local.get $before)))
      (then unreachable))
    (if (i64.ne (call $value (local.get $mine)) (i64.const 7777)) (then unreachable))
    (local.set $i (i32.const 0))
    (loop $check
      (call $check_held (local.get $i) (table.get $held (local.get $i)))
      (br_if $check
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))
    (table.fill $recent (i32.const 0) (ref.null extern) (i32.const 16))
    (call $expect (i64.const 65))
    (table.fill $held (i32.const 0) (ref.null extern) (i32.const 64))
    (if (i64.ne (call $value (local.get $mine)) (i64.const 7777)) (then unreachable))
    (call $expect (i64.const 0))
    (local.get $refused)))
