;; References on the operand stack whose places are overwritten before they are used.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "try_call" (func $try_call (param funcref) (result i32)))
  (import "host" "new_finalized" (func $new_finalized (param i64 funcref) (result externref)))

  (global $x (mut externref) (ref.null extern))
  (global $y (mut externref) (ref.null extern))
  (global $z (mut externref) (ref.null extern))
  (table $shelf 4 externref)
  (elem declare func $trap_with_an_owned $trap_beside_an_element $clear)

  (func $alive (param $count i64)
    (if (i64.ne (call $live) (local.get $count)) (then unreachable)))

  (func $expect (param $count i64)
    (call $gc)
    (call $alive (local.get $count)))

  (func $is (param $reference externref) (param $number i64)
    (if (i64.ne (call $value (local.get $reference)) (local.get $number)) (then unreachable)))

  (func $fill
    (global.set $x (call $new (i64.const 1)))
    (global.set $y (call $new (i64.const 2)))
    (global.set $z (call $new (i64.const 3)))
    (call $expect (i64.const 3)))

  (func $clear (param $number i64)
    (global.set $x (ref.null extern))
    (global.set $y (ref.null extern))
    (global.set $z (ref.null extern))
    (table.fill $shelf (i32.const 0) (ref.null extern) (i32.const 4)))

  (func $empty
    (call $clear (i64.const 0))
    (call $expect (i64.const 0)))

  (func $swap
    (global.get $x)
    (global.get $y)
    (global.set $x)
    (global.set $y))

  ;; Three operands, more than may wait.
  (func $rotate
    (global.get $x)
    (global.get $y)
    (global.get $z)
    (global.set $x)
    (global.set $z)
    (global.set $y))

  (func $permute (local $i i32)
    (call $fill)
    (loop $next
      (call $swap)
      (call $rotate)
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1001))))
    ;; Both together turn the three by one.
    (call $is (global.get $x) (i64.const 3))
    (call $is (global.get $y) (i64.const 2))
    (call $is (global.get $z) (i64.const 1))
    (call $expect (i64.const 3))
    (call $empty))

  ;; The operand takes over what the global had, and it dies with the operand.
  (func $take (result externref)
    (global.get $x)
    (ref.null extern)
    (global.set $x))

  (func $take_and_drop
    (global.get $x)
    (global.set $x (ref.null extern))
    (drop))

  (func $take_and_look (result i32)
    (global.get $x)
    (global.set $x (ref.null extern))
    (ref.is_null))

  (func $take_twice
    (global.get $x)
    (global.get $x)
    (ref.null extern)
    (global.set $x)
    (global.set $y)
    (global.set $z))

  (func $put_back
    (global.get $x)
    (global.get $x)
    (global.set $x)
    (global.set $y))

  (func $moves
    (call $fill)
    (call $is (call $take) (i64.const 1))
    (call $expect (i64.const 2))
    (if (i32.eqz (ref.is_null (call $take))) (then unreachable))
    (call $empty)

    (call $fill)
    (call $take_and_drop)
    (call $take_and_drop)
    (call $expect (i64.const 2))
    (call $empty)

    (call $fill)
    (if (call $take_and_look) (then unreachable))
    (if (i32.eqz (call $take_and_look)) (then unreachable))
    (call $expect (i64.const 2))
    (call $empty)

    (call $fill)
    (call $take_twice)
    (call $is (global.get $y) (i64.const 1))
    (call $is (global.get $z) (i64.const 1))
    (call $expect (i64.const 1))
    (call $empty)

    (call $fill)
    (call $put_back)
    (call $is (global.get $x) (i64.const 1))
    (call $is (global.get $y) (i64.const 1))
    (call $expect (i64.const 2))
    (call $empty))

  ;; Collections, while the operand has nothing but its own count.
  (func $hold_an_owned (local $kept externref)
    (call $fill)
    (global.get $x)
    (global.set $x (ref.null extern))
    (call $expect (i64.const 3))
    (call $is (i64.const 1))
    (call $expect (i64.const 2))
    (global.get $y)
    (global.set $y (global.get $z))
    (local.set $kept)
    (call $expect (i64.const 2))
    (call $is (local.get $kept) (i64.const 2))
    (call $empty))

  ;; A trap takes the operand along, and nothing of it is lost.
  (func $trap_with_an_owned
    (global.get $x)
    (global.set $x (ref.null extern))
    unreachable)

  (func $trap_beside_an_element
    (table.set $shelf (i32.const 0) (global.get $y))
    (global.get $y)
    (table.set $shelf (i32.const 4) (table.get $shelf (i32.const 0)))
    (drop))

  (func $traps
    (call $fill)
    (if (i32.eqz (call $try_call (ref.func $trap_with_an_owned))) (then unreachable))
    (call $expect (i64.const 2))
    (if (i32.eqz (call $try_call (ref.func $trap_beside_an_element))) (then unreachable))
    (call $is (global.get $y) (i64.const 2))
    (call $expect (i64.const 2))
    (call $empty))

  ;; An element is overwritten below the operand that was loaded from it.
  (func $elements (local $first i32)
    (table.set $shelf (i32.const 0) (call $new (i64.const 4)))
    (table.set $shelf (i32.const 1) (call $new (i64.const 5)))
    (call $expect (i64.const 2))
    (table.get $shelf (i32.const 0))
    (table.set $shelf (i32.const 0) (table.get $shelf (i32.const 1)))
    (table.set $shelf (i32.const 1) (ref.null extern))
    (call $is (i64.const 4))
    (table.set $shelf (i32.const 1) (table.get $shelf (i32.const 0)))
    (call $expect (i64.const 1))
    (table.set $shelf (i32.const 0) (table.get $shelf (i32.const 0)))
    (global.set $x (table.get $shelf (i32.const 1)))
    (table.get $shelf (i32.const 0))
    (table.get $shelf (i32.const 1))
    (call $clear (i64.const 0))
    (call $is (i64.const 5))
    (call $is (i64.const 5))
    (call $expect (i64.const 0))
    (call $fill)
    (table.set $shelf (i32.const 0) (call $new (i64.const 6)))
    (call $expect (i64.const 4))
    (table.get $shelf (i32.const 0))
    (local.get $first)
    (global.get $x)
    (table.set $shelf)
    (call $is (i64.const 6))
    (call $expect (i64.const 3))
    (call $empty))

  (func $both (param externref externref) (result i64)
    (i64.add (call $value (local.get 0)) (call $value (local.get 1))))

  ;; A destructor empties everything while the first operand is being entered.
  (func $destructors (local $i i32)
    (loop $next
      (call $fill)
      (table.set $shelf (i32.const 0) (call $new (i64.const 4)))
      (drop (call $new_finalized (i64.const 0) (ref.func $clear)))
      (if (i64.ne (call $both (global.get $x) (global.get $y)) (i64.const 3)) (then unreachable))
      (call $gc)
      (call $fill)
      (table.set $shelf (i32.const 0) (call $new (i64.const 4)))
      (drop (call $new_finalized (i64.const 0) (ref.func $clear)))
      (if (i64.ne (call $both (table.get $shelf (i32.const 0)) (global.get $z)) (i64.const 7))
        (then unreachable))
      (call $gc)
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300))))
    (call $empty))

  (func (export "main")
    (call $permute)
    (call $moves)
    (call $hold_an_owned)
    (call $traps)
    (call $elements)
    (call $destructors)))
