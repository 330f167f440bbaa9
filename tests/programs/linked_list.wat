;; A doubly linked list: its nodes keep each other alive until cycles are collected.
(module
  (import "host" "cell" (func $cell (result externref)))
  (import "host" "cell_get" (func $cell_get (param externref i32) (result externref)))
  (import "host" "cell_set" (func $cell_set (param externref i32 externref)))
  (import "host" "collect_cycles" (func $collect_cycles))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "same" (func $same (param externref externref) (result i32)))
  (import "host" "print_i64" (func $print_i64 (param i64)))

  ;; The references of a node.
  (global $next i32 (i32.const 0))
  (global $previous i32 (i32.const 1))
  (global $first (mut externref) (ref.null extern))
  (global $last (mut externref) (ref.null extern))

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  (func $expect_collected (param $alive i64)
    (call $gc)
    (call $collect_cycles)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  (func $link (param $one externref) (param $other externref)
    (call $cell_set (local.get $one) (global.get $next) (local.get $other))
    (call $cell_set (local.get $other) (global.get $previous) (local.get $one)))

  (func $append (param $node externref)
    (if (ref.is_null (global.get $last))
      (then (global.set $first (local.get $node)))
      (else (call $link (global.get $last) (local.get $node))))
    (global.set $last (local.get $node)))

  (func $fill (param $nodes i64)
    (loop $more
      (call $append (call $cell))
      (local.set $nodes (i64.sub (local.get $nodes) (i64.const 1)))
      (br_if $more (i64.ne (local.get $nodes) (i64.const 0)))))

  ;; The number of nodes from one on in one direction; each leads back to the one before.
  (func $length (param $node externref) (param $onward i32) (result i64)
    (local $nodes i64) (local $following externref)
    (loop $more
      (local.set $nodes (i64.add (local.get $nodes) (i64.const 1)))
      (local.set $following (call $cell_get (local.get $node) (local.get $onward)))
      (if (i32.eqz (ref.is_null (local.get $following)))
        (then
          (if
            (i32.eqz
              (call $same
                (local.get $node)
                (call $cell_get (local.get $following) (i32.sub (i32.const 1) (local.get $onward)))))
            (then unreachable))
          (local.set $node (local.get $following))
          (br $more))))
    (local.get $nodes))

  (func $expect_length (param $nodes i64)
    (if (i64.ne (call $length (global.get $first) (global.get $next)) (local.get $nodes))
      (then unreachable))
    (if (i64.ne (call $length (global.get $last) (global.get $previous)) (local.get $nodes))
      (then unreachable)))

  ;; Takes the second node out. It still refers to its neighbours, but nothing refers to it.
  (func $take_second_out
    (local $second externref)
    (local.set $second (call $cell_get (global.get $first) (global.get $next)))
    (call $link (global.get $first) (call $cell_get (local.get $second) (global.get $next))))

  (func $forget
    (global.set $first (ref.null extern))
    (global.set $last (ref.null extern)))

  (func (export "main")
    (call $fill (i64.const 100))
    (call $expect_length (i64.const 100))
    ;; A node that nothing refers to needs no collection of cycles.
    (call $take_second_out)
    (call $expect_length (i64.const 99))
    (call $expect (i64.const 99))
    ;; One end keeps all of it alive.
    (global.set $last (ref.null extern))
    (call $expect_collected (i64.const 99))
    (call $print_i64 (call $length (global.get $first) (global.get $next)))
    (call $forget)
    (call $expect_collected (i64.const 0))
    ;; This one outlives the guest, and goes with its store.
    (call $fill (i64.const 50))
    (call $expect_length (i64.const 50))
    (call $print_i64 (call $live))))
