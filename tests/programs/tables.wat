;; References at rest in tables: counted exactly, dead as soon as they are overwritten and no frame holds them.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "same" (func $same (param externref externref) (result i32)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (table $a 64 256 externref)
  (table $b 64 externref)
  (elem $nulls externref (ref.null extern) (ref.null extern) (ref.null extern))

  (func $alive (param $count i64)
    (if (i64.ne (call $live) (local.get $count)) (then unreachable)))

  (func $expect (param $count i64)
    (call $gc)
    (call $alive (local.get $count)))

  (func $fill_with_numbers
    (local $i i32)
    (loop $next
      (table.set $a (local.get $i) (call $new (i64.extend_i32_u (local.get $i))))
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64)))))

  (func $check_number (param $slot i32) (param $number i64)
    (if (i64.ne (call $value (table.get $a (local.get $slot))) (local.get $number))
      (then unreachable)))

  ;; No collection is needed for what only a table held.
  (func $dies_at_once
    (call $expect (i64.const 64))
    (table.set $a (i32.const 0) (ref.null extern))
    (call $alive (i64.const 63))
    (table.fill $a (i32.const 0) (ref.null extern) (i32.const 8))
    (call $alive (i64.const 56))
    (table.init $a $nulls (i32.const 8) (i32.const 0) (i32.const 3))
    (call $alive (i64.const 53))
    (elem.drop $nulls))

  ;; A reference that a frame took out of the table outlives its slot.
  (func $outlives_its_slot
    (local $taken externref)
    (local.set $taken (table.get $a (i32.const 20)))
    (table.set $a (i32.const 20) (ref.null extern))
    (call $expect (i64.const 53))
    (if (i64.ne (call $value (local.get $taken)) (i64.const 20)) (then unreachable))
    (call $expect (i64.const 52)))

  ;; Storing what is there already must not free it.
  (func $set_to_itself
    (table.set $a (i32.const 30) (table.get $a (i32.const 30)))
    (call $gc)
    (table.set $a (i32.const 30) (table.get $a (i32.const 30)))
    (call $check_number (i32.const 30) (i64.const 30)))

  (func $copy_and_grow
    (local $grown externref)
    ;; Overlapping, in both directions.
    (table.copy $a $a (i32.const 41) (i32.const 40) (i32.const 10))
    (call $alive (i64.const 51))
    (call $check_number (i32.const 41) (i64.const 40))
    (call $check_number (i32.const 50) (i64.const 49))
    (table.copy $a $a (i32.const 40) (i32.const 41) (i32.const 10))
    (call $alive (i64.const 51))
    (call $check_number (i32.const 40) (i64.const 40))
    (call $check_number (i32.const 49) (i64.const 49))
    (table.copy $b $a (i32.const 0) (i32.const 0) (i32.const 64))
    (call $alive (i64.const 51))
    (local.set $grown (call $new (i64.const 1000)))
    (if (i32.ne (table.grow $a (local.get $grown) (i32.const 100)) (i32.const 64))
      (then unreachable))
    (if (i32.eqz (call $same (table.get $a (i32.const 163)) (local.get $grown)))
      (then unreachable))
    (call $expect (i64.const 52))
    (if (i32.ne (table.grow $a (call $new (i64.const 1)) (i32.const 1000)) (i32.const -1))
      (then unreachable))
    (call $expect (i64.const 52))
    (table.fill $a (i32.const 0) (ref.null extern) (table.size $a))
    (call $expect (i64.const 51))
    (table.fill $b (i32.const 0) (ref.null extern) (table.size $b))
    (call $alive (i64.const 0)))

  ;; Filling with one reference counts it once for each slot.
  (func $fill_with_one
    (table.fill $b (i32.const 0) (call $new (i64.const 5)) (i32.const 64))
    (call $expect (i64.const 1))
    (table.fill $b (i32.const 1) (ref.null extern) (i32.const 63))
    (call $expect (i64.const 1))
    (table.set $b (i32.const 0) (ref.null extern))
    (call $alive (i64.const 0)))

  ;; A swap of two slots, over and over, with nothing but the frame holding one side.
  (func $swap
    (local $i i32) (local $one externref)
    (table.set $a (i32.const 0) (call $new (i64.const 1)))
    (table.set $a (i32.const 1) (call $new (i64.const 2)))
    (loop $next
      (local.set $one (table.get $a (i32.const 0)))
      (table.set $a (i32.const 0) (table.get $a (i32.const 1)))
      (table.set $a (i32.const 1) (local.get $one))
      (br_if $next
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1001))))
    (call $check_number (i32.const 0) (i64.const 2))
    (call $check_number (i32.const 1) (i64.const 1))
    (call $expect (i64.const 2))
    (table.fill $a (i32.const 0) (ref.null extern) (i32.const 2))
    (call $expect (i64.const 0)))

  (func (export "main")
    (call $fill_with_numbers)
    (call $dies_at_once)
    (call $outlives_its_slot)
    (call $set_to_itself)
    (call $expect (i64.const 52))
    (call $copy_and_grow)
    (call $fill_with_one)
    (call $swap)))
