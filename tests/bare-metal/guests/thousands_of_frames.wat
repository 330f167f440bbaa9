;; Four thousand frames, each with two references, and collections at the bottom and on the way up.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; The sum of all values that the frames from here down hold.
  (func $descend (param $depth i64) (param $above i64) (result i64)
    (local $one externref) (local $other externref) (local $below i64)
    (if (i64.eqz (local.get $depth))
      (then
        (call $expect (i64.mul (local.get $above) (i64.const 2)))
        (return (i64.const 0))))
    (local.set $one (call $new (local.get $depth)))
    (local.set $other (call $new (i64.const 1000000)))
    (local.set $below
      (call $descend
        (i64.sub (local.get $depth) (i64.const 1))
        (i64.add (local.get $above) (i64.const 1))))
    ;; What the frames below held is free by now, and what this one and those above hold is not.
    (if (i64.eqz (i64.rem_u (local.get $depth) (i64.const 500)))
      (then (call $expect (i64.mul (i64.add (local.get $above) (i64.const 1)) (i64.const 2)))))
    (i64.add (local.get $below)
      (i64.add (call $value (local.get $one)) (call $value (local.get $other)))))

  (func (export "main")
    (if
      (i64.ne (call $descend (i64.const 4000) (i64.const 0)) (i64.const 4008002000))
      (then unreachable))
    (call $expect (i64.const 0))))
