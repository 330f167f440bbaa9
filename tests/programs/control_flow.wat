;; References through every kind of control flow.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  (func $is (param $object externref) (param $number i64)
    (if (i64.ne (call $value (local.get $object)) (local.get $number)) (then unreachable)))

  ;; What was not selected dies.
  (func $select (param $which i32)
    (local $chosen externref)
    (local.set $chosen
      (select (result externref)
        (call $new (i64.const 1)) (call $new (i64.const 2)) (local.get $which)))
    (call $expect (i64.const 1))
    (call $is (local.get $chosen) (select (i64.const 1) (i64.const 2) (local.get $which))))

  (func $if (param $which i32)
    (local $chosen externref)
    (local.set $chosen
      (if (result externref) (local.get $which)
        (then (call $new (i64.const 3)))
        (else
          (call $gc)
          (call $new (i64.const 4)))))
    (call $expect (i64.const 1))
    (call $is (local.get $chosen) (select (i64.const 3) (i64.const 4) (local.get $which))))

  ;; A block's result from three places.
  (func $switch (param $which i32)
    (local $chosen externref)
    (local.set $chosen
      (block $out (result externref)
        (call $new (i64.const 10))
        (block $two (param externref) (result externref)
          (block $one (param externref) (result externref)
            (br_table $one $two $out (local.get $which)))
          (drop)
          (call $gc)
          (br $out (call $new (i64.const 11))))
        (call $gc)))
    (call $expect (i64.const 1))
    (call $is (local.get $chosen) (select (i64.const 10) (i64.const 11) (local.get $which))))

  ;; A loop with a reference parameter, which is another one in each round.
  (func $loop
    (local $i i64) (local $last externref)
    (call $new (i64.const 0))
    (loop $next (param externref) (result externref)
      (local.set $last)
      (call $expect (i64.const 1))
      (call $is (local.get $last) (local.get $i))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (call $new (local.get $i))
      (br_if $next (i64.lt_u (local.get $i) (i64.const 50))))
    (call $is (i64.const 50))
    (call $expect (i64.const 0)))

  ;; A local that is null on one way and a reference on the other.
  (func $maybe_null (param $which i32)
    (local $maybe externref)
    (if (local.get $which) (then (local.set $maybe (call $new (i64.const 5)))))
    (call $expect (i64.extend_i32_u (local.get $which)))
    (if (i32.eq (ref.is_null (local.get $maybe)) (local.get $which)) (then unreachable)))

  ;; An early return past live references, and one with its reference as the result.
  (func $leave (param $which i32) (result externref)
    (local $a externref) (local $b externref)
    (local.set $a (call $new (i64.const 20)))
    (local.set $b (call $new (i64.const 21)))
    (call $expect (i64.const 2))
    (if (local.get $which) (then (return (local.get $a))))
    (call $is (local.get $a) (i64.const 20))
    (local.get $b))

  ;; A parameter that is overwritten: its old value is dead although the caller passed it.
  (func $overwrite (param $object externref)
    (call $is (local.get $object) (i64.const 30))
    (local.set $object (call $new (i64.const 31)))
    (call $expect (i64.const 1))
    (call $is (local.tee $object (local.get $object)) (i64.const 31)))

  (func (export "main")
    (local $which i32)
    (loop $both
      (call $select (local.get $which))
      (call $if (local.get $which))
      (call $maybe_null (local.get $which))
      (call $is (call $leave (local.get $which)) (select (i64.const 20) (i64.const 21) (local.get $which)))
      (call $expect (i64.const 0))
      (br_if $both
        (i32.lt_u (local.tee $which (i32.add (local.get $which) (i32.const 1))) (i32.const 2))))
    (call $switch (i32.const 0))
    (call $switch (i32.const 1))
    (call $switch (i32.const 2))
    (call $loop)
    (call $overwrite (call $new (i64.const 30)))
    (call $expect (i64.const 0))))
