;; The host passes two references to Wasm while the table of references is full (CVE-2021-39216).
;;
;; If inserting the second one collects, the first one, which no frame holds yet, must stay in the table: a collection
;; finds every reference of a frame there.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "call_with"
    (func $call_with (param funcref externref externref) (result externref)))

  (elem declare func $check)

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; The first reference carries twice the second's number; neither is used again by the caller.
  (func $check (param $one externref) (param $two externref) (result externref)
    ;; There is no garbage if the arguments' insertion has collected.
    (if (i64.le_u (call $live) (i64.const 3)) (then (call $gc)))
    (if
      (i64.ne
        (call $value (local.get $one))
        (i64.mul (i64.const 2) (call $value (local.get $two))))
      (then unreachable))
    (local.get $one))

  (func (export "main")
    (local $i i64) (local $garbage i64) (local $result externref)
    (loop $next
      ;; From 1 to 7 objects of garbage move the point at which the table is full through all its places.
      (local.set $garbage (i64.rem_u (local.get $i) (i64.const 7)))
      (loop $more
        (drop (call $new (local.get $i)))
        (local.set $garbage (i64.sub (local.get $garbage) (i64.const 1)))
        (br_if $more (i64.ge_s (local.get $garbage) (i64.const 0))))
      (local.set $result
        (call $call_with (ref.func $check)
          (call $new (i64.mul (local.get $i) (i64.const 2)))
          (call $new (local.get $i))))
      (if (i64.ne (call $value (local.get $result)) (i64.mul (local.get $i) (i64.const 2)))
        (then unreachable))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $next (i64.lt_u (local.get $i) (i64.const 1000))))
    (call $expect (i64.const 0))))
