;; Two instances that share a table, a global and functions; references move between them.
(module $owner
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (table (export "shelf") 10 externref)
  (table $visitors (export "visitors") 2 funcref)
  (global (export "kept") (mut externref) (ref.null extern))
  (type $visit (func (param externref i64) (result externref)))

  (func $expect (export "expect") (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; Makes a reference, hands it to the other instance's function, and keeps one of its own meanwhile.
  (func (export "visit") (param $number i64) (result i64)
    (local $mine externref) (local $theirs externref)
    (local.set $mine (call $new (local.get $number)))
    (local.set $theirs
      (call_indirect $visitors (type $visit)
        (call $new (i64.const 1000)) (local.get $number) (i32.const 0)))
    (call $expect (i64.const 3))
    (i64.add (call $value (local.get $mine)) (call $value (local.get $theirs)))))

(register "owner")

(module $guest
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "owner" "expect" (func $expect (param i64)))
  (import "owner" "shelf" (table $shelf 10 externref))
  (import "owner" "visitors" (table $visitors 2 funcref))
  (import "owner" "kept" (global $kept (mut externref)))
  (elem (table $visitors) (i32.const 0) func $visit)

  ;; Holds the caller's reference across a collection, puts it on the shelf, and returns a new one.
  (func $visit (param $given externref) (param $number i64) (result externref)
    (local $new externref)
    (local.set $new (call $new (i64.mul (local.get $number) (i64.const 2))))
    (call $expect (i64.const 3))
    (table.set $shelf (i32.const 4) (local.get $given))
    (local.get $new))

  (func (export "take") (result i64)
    (local $taken externref)
    (local.set $taken (table.get $shelf (i32.const 4)))
    (table.set $shelf (i32.const 4) (ref.null extern))
    (call $expect (i64.const 1))
    (call $value (local.get $taken)))

  (func (export "keep") (param $number i64)
    (global.set $kept (call $new (local.get $number)))))

(assert_return (invoke $owner "expect" (i64.const 0)))
(assert_return (invoke $owner "visit" (i64.const 5)) (i64.const 15))
(assert_return (invoke $owner "expect" (i64.const 1)))
(assert_return (invoke $guest "take") (i64.const 1000))
(assert_return (invoke $owner "expect" (i64.const 0)))
(assert_return (invoke $guest "keep" (i64.const 7)))
(assert_return (invoke $owner "expect" (i64.const 1)))
(assert_return (get $owner "kept") (ref.extern 7))

;; An instantiation that fails half-way leaves what it wrote before in the shared table.
(assert_trap
  (module
    (import "host" "new" (func $new (param i64) (result externref)))
    (import "owner" "shelf" (table $shelf 10 externref))
    (import "owner" "visitors" (table $visitors 2 funcref))
    (elem (table $visitors) (i32.const 1) func $mine)
    (func $mine (result i64) (i64.const 77))
    (func $start
      (table.set $shelf (i32.const 9) (call $new (i64.const 9)))
      unreachable)
    (start $start))
  "unreachable")
(assert_return (invoke $owner "expect" (i64.const 2)))

(module
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "owner" "shelf" (table $shelf 10 externref))
  (import "owner" "visitors" (table $visitors 2 funcref))
  (func (export "left") (result i64) (call $value (table.get $shelf (i32.const 9))))
  (func (export "call") (result i64) (call_indirect $visitors (result i64) (i32.const 1))))
(assert_return (invoke "left") (i64.const 9))
(assert_return (invoke "call") (i64.const 77))
