;; Destructors that call the guest, which makes references and collects while a collection is under way.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "new_finalized" (func $new_finalized (param i64 funcref) (result externref)))
  (import "host" "call_with"
    (func $call_with (param funcref externref externref) (result externref)))

  (global $finalized (mut i64) (i64.const 0))
  (global $slot (mut externref) (ref.null extern))
  (table $shelf 8 externref)
  (elem declare func $count $make_garbage $chain $store $trap $give_up)

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  (func $count (param $number i64)
    (global.set $finalized (i64.add (global.get $finalized) (local.get $number))))

  ;; Inserts far more references than the table had room for, and collects in the destructor.
  (func $make_garbage (param $number i64)
    (local $i i64) (local $kept externref)
    (local.set $kept (call $new (i64.const 4)))
    (loop $next
      (drop (call $new (local.get $i)))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $next (i64.lt_u (local.get $i) (i64.const 300))))
    (call $gc)
    (if (i64.ne (call $value (local.get $kept)) (i64.const 4)) (then unreachable))
    (call $count (local.get $number)))

  ;; Each destructor makes the next object with a destructor.
  (func $chain (param $number i64)
    (call $count (i64.const 1))
    (if (i64.gt_s (local.get $number) (i64.const 1))
      (then
        (drop
          (call $new_finalized (i64.sub (local.get $number) (i64.const 1)) (ref.func $chain))))))

  ;; Writes to the global and the table whose slots are being overwritten.
  (func $store (param $number i64)
    (global.set $slot (call $new (local.get $number)))
    (table.set $shelf (i32.const 3) (call $new (local.get $number)))
    (call $count (local.get $number)))

  ;; What a destructor does wrong stops nobody else.
  (func $trap (param $number i64)
    (call $count (local.get $number))
    unreachable)

  (func $finalized_is (param $sum i64)
    (if (i64.ne (global.get $finalized) (local.get $sum)) (then unreachable))
    (global.set $finalized (i64.const 0)))

  (func $in_collections
    (local $live externref)
    (local.set $live (call $new (i64.const 5)))
    (drop (call $new_finalized (i64.const 10) (ref.func $make_garbage)))
    (drop (call $new_finalized (i64.const 20) (ref.func $make_garbage)))
    (drop (call $new_finalized (i64.const 30) (ref.func $count)))
    (call $gc)
    (call $expect (i64.const 1))
    (call $finalized_is (i64.const 60))
    (if (i64.ne (call $value (local.get $live)) (i64.const 5)) (then unreachable)))

  (func $in_chains
    (local $round i64)
    (drop (call $new_finalized (i64.const 10) (ref.func $chain)))
    (loop $again
      (call $gc)
      (local.set $round (i64.add (local.get $round) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $round) (i64.const 12))))
    (call $expect (i64.const 0))
    (call $finalized_is (i64.const 10)))

  ;; A destructor that runs when its slot is overwritten finds the new value there, and its own store wins.
  (func $in_stores
    (global.set $slot (call $new_finalized (i64.const 7) (ref.func $store)))
    (call $expect (i64.const 1))
    (global.set $slot (call $new (i64.const 8)))
    (call $finalized_is (i64.const 7))
    (if (i64.ne (call $value (global.get $slot)) (i64.const 7)) (then unreachable))
    (global.set $slot (ref.null extern))
    (table.set $shelf (i32.const 3) (call $new_finalized (i64.const 9) (ref.func $store)))
    (call $expect (i64.const 1))
    (table.fill $shelf (i32.const 0) (ref.null extern) (i32.const 8))
    (call $finalized_is (i64.const 9))
    (global.set $slot (ref.null extern))
    (table.set $shelf (i32.const 3) (ref.null extern))
    (call $expect (i64.const 0)))

  ;; Holds its arguments no more when it collects.
  (func $give_up (param externref externref) (result externref)
    (call $gc)
    (call $new (i64.const 6)))

  ;; An argument dies when the host's function returns, and its destructor collects: the result, which no frame holds
  ;; yet, must not be freed.
  (func $in_returns
    (local $result externref)
    (local.set $result
      (call $call_with (ref.func $give_up)
        (call $new_finalized (i64.const 40) (ref.func $make_garbage))
        (call $new_finalized (i64.const 50) (ref.func $count))))
    (call $finalized_is (i64.const 90))
    (call $expect (i64.const 1))
    (if (i64.ne (call $value (local.get $result)) (i64.const 6)) (then unreachable)))

  (func (export "main")
    (call $in_collections)
    (call $expect (i64.const 0))
    (call $in_chains)
    (call $in_stores)
    (call $in_returns)
    (call $expect (i64.const 0))
    (drop (call $new_finalized (i64.const 1) (ref.func $trap)))
    (drop (call $new_finalized (i64.const 2) (ref.func $count)))
    (call $expect (i64.const 0))
    (call $finalized_is (i64.const 3))
    ;; Outlives the guest: its destructor runs when the store is gone, and calls nobody.
    (global.set $slot (call $new_finalized (i64.const 1) (ref.func $trap)))))
