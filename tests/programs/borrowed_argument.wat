;; Arguments of host calls that Wasm does not use again.
;;
;; Such an argument is in no stack map: the host has to own it before anything can collect.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "same" (func $same (param externref externref) (result i32)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "call_with"
    (func $call_with (param funcref externref externref) (result externref)))

  (elem declare func $second_after_gc)

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  (func $second_after_gc (param externref externref) (result externref)
    (call $gc)
    (local.get 1))

  (func (export "main")
    (local $i i64)
    (loop $next
      (if (i64.ne (call $value (call $new (local.get $i))) (local.get $i)) (then unreachable))
      (if (call $same (call $new (local.get $i)) (call $new (local.get $i))) (then unreachable))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $next (i64.lt_u (local.get $i) (i64.const 500))))
    (call $expect (i64.const 0))
    ;; The host calls back with what it was lent, and the callee collects.
    (if
      (i64.ne
        (call $value
          (call $call_with (ref.func $second_after_gc) (call $new (i64.const 1)) (call $new (i64.const 2))))
        (i64.const 2))
      (then unreachable))
    (call $expect (i64.const 0))))
