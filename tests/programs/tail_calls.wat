;; Tail calls whose callees take more, and fewer, stack arguments than their callers.
;;
;; Such a call moves the frame's lower end against its caller's, so that a slot's address counts from the frame
;; pointer.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (type $few (func (param i64 externref) (result i64)))
  (table $functions funcref (elem $few $alternate))

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; Sixteen references: most of them are passed on the stack.
  (func $many
    (param $n i64)
    (param externref externref externref externref externref externref externref externref)
    (param externref externref externref externref externref externref externref externref)
    (result i64)
    (call $gc)
    (if (i64.eqz (local.get $n))
      (then (return (call $value (local.get 16)))))
    ;; Shrinks the area of stack arguments.
    (return_call $few (i64.sub (local.get $n) (i64.const 1)) (local.get 16)))

  (func $few (type $few)
    (local $own externref)
    (local.set $own (call $new (i64.const 1000)))
    (call $gc)
    (if (i64.ne (call $value (local.get $own)) (i64.const 1000)) (then unreachable))
    (if (i64.eqz (local.get 0))
      (then (return (call $value (local.get 1)))))
    ;; Grows the area of stack arguments.
    (return_call $many
      (i64.sub (local.get 0) (i64.const 1))
      (call $new (i64.const 1)) (call $new (i64.const 2)) (call $new (i64.const 3)) (local.get 1)
      (local.get 1) (local.get 1) (local.get 1) (local.get 1)
      (call $new (i64.const 4)) (call $new (i64.const 5)) (call $new (i64.const 6)) (local.get 1)
      (local.get 1) (local.get 1) (local.get $own) (local.get 1)))

  ;; A tail call through a table.
  (func $alternate (type $few)
    (if (i64.eqz (local.get 0))
      (then
        (call $expect (i64.const 3))
        (return (call $value (local.get 1)))))
    (return_call_indirect $functions (type $few)
      (i64.sub (local.get 0) (i64.const 1))
      (local.get 1)
      (i32.const 1)))

  ;; An ordinary caller with references of its own: they stay where they are while its callees move.
  (func $caller (param $n i64) (param $which i32) (result i64)
    (local $a externref) (local $b externref) (local $result i64)
    (local.set $a (call $new (i64.const 10)))
    (local.set $b (call $new (i64.const 20)))
    (local.set $result
      (call_indirect $functions (type $few)
        (local.get $n) (call $new (i64.const 77)) (local.get $which)))
    (if (i64.ne (call $value (local.get $a)) (i64.const 10)) (then unreachable))
    (if (i64.ne (call $value (local.get $b)) (i64.const 20)) (then unreachable))
    (local.get $result))

  ;; A self tail call replaces its references at each step; the old ones die although the frame never returns.
  (func $carry (param $n i64) (param $carried externref) (result externref)
    (if (i64.eqz (local.get $n)) (then (return (local.get $carried))))
    (return_call $carry
      (i64.sub (local.get $n) (i64.const 1))
      (call $new (i64.add (call $value (local.get $carried)) (i64.const 1)))))

  (func (export "main")
    (local $n i64)
    (loop $next
      (if (i64.ne (call $caller (local.get $n) (i32.const 0)) (i64.const 77)) (then unreachable))
      (local.set $n (i64.add (local.get $n) (i64.const 1)))
      (br_if $next (i64.lt_u (local.get $n) (i64.const 20))))
    (call $expect (i64.const 0))
    (if (i64.ne (call $caller (i64.const 1000) (i32.const 1)) (i64.const 77)) (then unreachable))
    (call $expect (i64.const 0))
    (if
      (i64.ne
        (call $value (call $carry (i64.const 5000) (call $new (i64.const 0))))
        (i64.const 5000))
      (then unreachable))
    (call $expect (i64.const 0))))
