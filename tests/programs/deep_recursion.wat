;; Many frames, each with four live references, and a collection at the bottom.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; The sum of all values that the frames from here down hold.
  (func $descend (param $depth i64) (result i64)
    (local $a externref) (local $b externref) (local $c externref) (local $d externref)
    (local $below i64)
    (if (i64.eqz (local.get $depth))
      (then
        (call $expect (i64.const 800))
        (return (i64.const 0))))
    (local.set $a (call $new (local.get $depth)))
    (local.set $b (call $new (i64.const 1)))
    (local.set $c (call $new (i64.const 10)))
    (local.set $d (call $new (i64.const 100)))
    (local.set $below (call $descend (i64.sub (local.get $depth) (i64.const 1))))
    (i64.add (local.get $below)
      (i64.add
        (i64.add (call $value (local.get $a)) (call $value (local.get $b)))
        (i64.add (call $value (local.get $c)) (call $value (local.get $d))))))

  (func (export "main")
    ;; 1 + 2 + … + 200, and 111 for each of the 200 frames.
    (if (i64.ne (call $descend (i64.const 200)) (i64.const 42300)) (then unreachable))
    (call $expect (i64.const 0))))
