;; Traps in the middle of frames that hold references: the next collection frees them all.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "try_call" (func $try_call (param funcref) (result i32)))

  (memory 1)
  (table $empty 1 externref)
  (table $functions 1 funcref)
  (type $nothing (func))
  (elem declare func
    $unreachable $divide $overflow $memory $table $undefined $uninitialized $host $nested $fine)

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; Traps below thirty frames, each of which holds a reference that it would use afterwards.
  (func $descend (param $depth i64) (param $how i32)
    (local $mine externref)
    (local.set $mine (call $new (local.get $depth)))
    (if (i64.eqz (local.get $depth))
      (then
        (call $gc)
        (call $trap (local.get $how)))
      (else
        (call $descend (i64.sub (local.get $depth) (i64.const 1)) (local.get $how))))
    (drop (call $value (local.get $mine))))

  (func $trap (param $how i32)
    (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $5 $6 $7 (local.get $how)))
      unreachable)
      (drop (i32.div_u (local.get $how) (i32.const 0))))
      (drop (i32.trunc_f64_u (f64.const 1e300))))
      (drop (i32.load (i32.const 65533))))
      (drop (table.get $empty (i32.const 1))))
      (call_indirect $functions (type $nothing) (i32.const 1)))
      (call_indirect $functions (type $nothing) (i32.const 0)))
      ;; The host refuses to read the value of null.
      (drop (call $value (ref.null extern))))

  (func $unreachable (call $descend (i64.const 30) (i32.const 0)))
  (func $divide (call $descend (i64.const 30) (i32.const 1)))
  (func $overflow (call $descend (i64.const 30) (i32.const 2)))
  (func $memory (call $descend (i64.const 30) (i32.const 3)))
  (func $table (call $descend (i64.const 30) (i32.const 4)))
  (func $undefined (call $descend (i64.const 30) (i32.const 5)))
  (func $uninitialized (call $descend (i64.const 30) (i32.const 6)))
  (func $host (call $descend (i64.const 30) (i32.const 7)))
  (func $fine)

  ;; A trap caught inside a call that traps itself.
  (func $nested
    (local $mine externref)
    (local.set $mine (call $new (i64.const 5)))
    (if (i32.eqz (call $try_call (ref.func $memory))) (then (return)))
    ;; This frame's reference and its caller's.
    (call $expect (i64.const 2))
    (drop (call $value (local.get $mine)))
    (call $descend (i64.const 10) (i32.const 1)))

  (func $traps (param $function funcref)
    (local $mine externref)
    (local.set $mine (call $new (i64.const 1)))
    (if (i32.eqz (call $try_call (local.get $function))) (then unreachable))
    (call $expect (i64.const 1))
    (if (i64.ne (call $value (local.get $mine)) (i64.const 1)) (then unreachable)))

  (func (export "main")
    (call $traps (ref.func $unreachable))
    (call $traps (ref.func $divide))
    (call $traps (ref.func $overflow))
    (call $traps (ref.func $memory))
    (call $traps (ref.func $table))
    (call $traps (ref.func $undefined))
    (call $traps (ref.func $uninitialized))
    (call $traps (ref.func $host))
    (call $traps (ref.func $nested))
    (if (call $try_call (ref.func $fine)) (then unreachable))
    (call $expect (i64.const 0))))
