;; References that die before, between and after the calls of a recursion.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  ;; Every frame makes three references: one that nobody uses again, one that is used before the call below it,
  ;; and one that is used after it. Only the last kind may be alive at the bottom.
  (func $descend (param $depth i64)
    (local $before externref) (local $after externref)
    (if (i64.eqz (local.get $depth))
      (then
        (call $expect (i64.const 100))
        (return)))
    (drop (call $new (i64.const -1)))
    (local.set $before (call $new (i64.const -2)))
    (local.set $after (call $new (local.get $depth)))
    (drop (call $value (local.get $before)))
    (call $descend (i64.sub (local.get $depth) (i64.const 1)))
    (if (i64.ne (call $value (local.get $after)) (local.get $depth)) (then unreachable))
    ;; On the way back the frames below are gone, and so is this frame's reference.
    (call $expect (i64.sub (i64.const 100) (local.get $depth))))

  ;; A reference that is dead in the first call and a new one that is alive in the second, in the same local.
  (func $reuse
    (local $slot externref)
    (local.set $slot (call $new (i64.const 1)))
    (call $expect (i64.const 1))
    (drop (call $value (local.get $slot)))
    (call $expect (i64.const 0))
    (local.set $slot (call $new (i64.const 2)))
    (call $expect (i64.const 1))
    (if (i64.ne (call $value (local.get $slot)) (i64.const 2)) (then unreachable))
    (local.set $slot (ref.null extern))
    (call $expect (i64.const 0)))

  ;; Alive in one branch only.
  (func $branch (param $keep i32)
    (local $slot externref)
    (local.set $slot (call $new (i64.const 3)))
    (if (local.get $keep)
      (then
        (call $expect (i64.const 1))
        (drop (call $value (local.get $slot))))
      (else
        (call $expect (i64.const 0)))))

  (func (export "main")
    (call $descend (i64.const 100))
    (call $reuse)
    (call $branch (i32.const 1))
    (call $branch (i32.const 0))
    (call $expect (i64.const 0))))
