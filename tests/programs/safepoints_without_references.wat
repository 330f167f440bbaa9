;; Calls with no live reference after calls with some, in one function (CVE-2021-39218).
;;
;; A lookup that falls back to an earlier safepoint's map would keep, or read, what is dead at the later call.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; The same stack slots hold references at the first collection and numbers at the second.
  (func $slots_change_hands (param $seed i64)
    (local $a externref) (local $b externref)
    (local $x i64) (local $y i64) (local $z i64)
    (local.set $a (call $new (i64.const 1)))
    (local.set $b (call $new (i64.const 2)))
    (call $expect (i64.const 2))
    (drop (call $value (local.get $a)))
    (drop (call $value (local.get $b)))
    (local.set $x (i64.mul (local.get $seed) (i64.const 0x0101010101010101)))
    (local.set $y (i64.xor (local.get $x) (i64.const -1)))
    (local.set $z (i64.add (local.get $y) (local.get $seed)))
    (call $expect (i64.const 0))
    (if
      (i64.ne
        (i64.add (i64.add (local.get $x) (local.get $y)) (local.get $z))
        (i64.add (i64.const -1) (local.get $z)))
      (then unreachable)))

  ;; No reference before the first call, some after it.
  (func $late
    (call $expect (i64.const 0))
    (if (i64.ne (call $value (call $new (i64.const 3))) (i64.const 3)) (then unreachable))
    (call $expect (i64.const 0)))

  (func (export "main")
    (call $slots_change_hands (i64.const 1))
    (call $slots_change_hands (i64.const 255))
    (call $late)))
