;; One global, imported under two names: what was loaded from either is gone when the other is written.
(module $owner
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (global $kept (export "kept") (mut externref) (ref.null extern))
  (func (export "fill") (param $number i64)
    (global.set $kept (call $new (local.get $number))))
  (func (export "alive") (result i64)
    (call $gc)
    (call $live)))
(register "owner")

(module $guest
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "owner" "kept" (global $a (mut externref)))
  (import "owner" "kept" (global $b (mut externref)))
  (global $own (mut externref) (ref.null extern))

  (func (export "through_the_other") (result i64) (local $first i64)
    (global.get $a)
    (global.get $b)
    (global.set $a (ref.null extern))
    (local.set $first (call $value))
    (call $value)
    (i64.add (local.get $first)))

  (func (export "beside_the_other") (result i64)
    (global.get $a)
    (global.set $b (ref.null extern))
    (call $value))

  (func (export "swap") (result i64)
    (global.get $a)
    (global.get $b)
    (global.set $a)
    (global.set $b)
    (call $value (global.get $a)))

  (func (export "swap_with_own")
    (global.get $own)
    (global.get $a)
    (global.set $own)
    (global.set $b))

  (func (export "own") (result i64)
    (call $value (global.get $own))))

(invoke $owner "fill" (i64.const 7))
(assert_return (invoke $guest "through_the_other") (i64.const 14))
(assert_return (invoke $owner "alive") (i64.const 0))

(invoke $owner "fill" (i64.const 8))
(assert_return (invoke $guest "beside_the_other") (i64.const 8))
(assert_return (invoke $owner "alive") (i64.const 0))

(invoke $owner "fill" (i64.const 9))
(assert_return (invoke $guest "swap") (i64.const 9))
(assert_return (invoke $owner "alive") (i64.const 1))

(invoke $guest "swap_with_own")
(assert_return (get $owner "kept") (ref.null extern))
(assert_return (invoke $guest "own") (i64.const 9))
(invoke $guest "swap_with_own")
(assert_return (get $owner "kept") (ref.extern 9))
(assert_return (invoke $owner "alive") (i64.const 1))
