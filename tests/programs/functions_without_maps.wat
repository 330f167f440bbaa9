;; Functions that never hold a reference, placed after, between and below functions that do.
;;
;; Their return addresses have no stack map, and must not be answered with a neighbour's.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  (func $holds (param $depth i64)
    (local $mine externref)
    (local.set $mine (call $new (local.get $depth)))
    (call $numbers (local.get $depth))
    (if (i64.ne (call $value (local.get $mine)) (local.get $depth)) (then unreachable)))

  ;; Only numbers, many of them, alive across the call.
  (func $numbers (param $depth i64)
    (local $a i64) (local $b i64) (local $c i64) (local $d i64)
    (local.set $a (i64.add (local.get $depth) (i64.const 1)))
    (local.set $b (i64.mul (local.get $depth) (i64.const 8)))
    (local.set $c (i64.xor (local.get $depth) (i64.const 0x7fff_ffff_ffff_fff8)))
    (local.set $d (i64.sub (i64.const 0) (local.get $depth)))
    (if (i64.eqz (local.get $depth))
      (then (call $expect (i64.const 51)))
      (else (call $holds (i64.sub (local.get $depth) (i64.const 1)))))
    (if (i64.ne (i64.add (local.get $a) (local.get $d)) (i64.const 1)) (then unreachable))
    (if
      (i64.ne
        (i64.add (i64.xor (local.get $c) (i64.const 0x7fff_ffff_ffff_fff8)) (local.get $b))
        (i64.mul (local.get $depth) (i64.const 9)))
      (then unreachable)))

  (func (export "main")
    (call $holds (i64.const 50))
    (call $expect (i64.const 0))))
