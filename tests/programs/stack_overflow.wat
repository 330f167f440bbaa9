;; Running out of stack is a trap, and what the lost frames held is free afterwards.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "try_call" (func $try_call (param funcref) (result i32)))
  (import "host" "call" (func $call (param funcref)))

  (elem declare func $forever $through_the_host)

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; Many parameters make for large frames: a collection in each of n frames walks n² / 2 of them.
  (func $endless
    (param $made externref)
    (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (result i64)
    (i64.add
      (call $endless
        (local.get $made)
        (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7) (local.get 8)
        (local.get 9) (local.get 10) (local.get 11) (local.get 12) (local.get 13) (local.get 14) (local.get 15) (local.get 16)
        (local.get 17) (local.get 18) (local.get 19) (local.get 20) (local.get 21) (local.get 22) (local.get 23) (local.get 24))
      (call $value (local.get $made))))

  (func $forever
    (drop
      (call $endless
        (call $new (i64.const 1))
        (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)
        (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)
        (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))))

  ;; The host's frames count as well.
  (func $through_the_host
    (local $mine externref)
    (local.set $mine (call $new (i64.const 2)))
    (call $call (ref.func $through_the_host))
    (drop (call $value (local.get $mine))))

  (func (export "main")
    (local $round i32) (local $mine externref)
    (local.set $mine (call $new (i64.const 3)))
    (loop $again
      ;; 10 is the number of "call stack exhausted".
      (if (i32.ne (call $try_call (ref.func $forever)) (i32.const 10)) (then unreachable))
      (call $expect (i64.const 1))
      (if (i32.ne (call $try_call (ref.func $through_the_host)) (i32.const 10)) (then unreachable))
      (call $expect (i64.const 1))
      (br_if $again
        (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 3))))
    (if (i64.ne (call $value (local.get $mine)) (i64.const 3)) (then unreachable))
    (call $expect (i64.const 0))))
