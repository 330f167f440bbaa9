;; Host and Wasm call each other, level upon level, with references in all of the Wasm frames.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "call" (func $call (param funcref)))
  (import "host" "call_with"
    (func $call_with (param funcref externref externref) (result externref)))

  (global $level (mut i64) (i64.const 0))
  (elem declare func $down $down_with)

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; One reference for each level.
  (func $down
    (local $mine externref) (local $number i64)
    (local.set $number (i64.add (global.get $level) (i64.const 1)))
    (global.set $level (local.get $number))
    (local.set $mine (call $new (local.get $number)))
    (call $between)
    (if (i64.ne (call $value (local.get $mine)) (local.get $number)) (then unreachable))
    (global.set $level (i64.sub (local.get $number) (i64.const 1)))
    (call $expect (global.get $level)))

  ;; A second Wasm frame in each activation.
  (func $between
    (call $expect (global.get $level))
    (if (i64.lt_u (global.get $level) (i64.const 20))
      (then (call $call (ref.func $down)))))

  ;; Passes its references on through the host, with one more for each level.
  (func $down_with (param $one externref) (param $two externref) (result externref)
    (local $result externref)
    (call $gc)
    (if (i64.ge_u (call $value (local.get $one)) (i64.const 20))
      (then (return (local.get $two))))
    (local.set $result
      (call $call_with (ref.func $down_with)
        (call $new (i64.add (call $value (local.get $one)) (i64.const 1)))
        (local.get $two)))
    (drop (call $value (local.get $one)))
    (local.get $result))

  (func (export "main")
    (call $down)
    (call $expect (i64.const 0))
    (if
      (i64.ne
        (call $value
          (call $call_with (ref.func $down_with) (call $new (i64.const 1)) (call $new (i64.const 99))))
        (i64.const 99))
      (then unreachable))
    (call $expect (i64.const 0))))
