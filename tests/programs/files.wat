;; Real files, held by externrefs: through recursion, a table and a global.
;;
;; A file is closed when the last reference to it goes, so the lines that the host prints show when each handle
;; died: "live" counts them at every stage.
(module
  (import "host" "open" (func $open (param i32 i32) (result externref)))
  (import "host" "write" (func $write (param externref i32 i32) (result i32)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "print_ref" (func $print_ref (param externref)))

  (memory 1)
  (data (i32.const 0) "recursion-0.txt")
  (data (i32.const 16) "table-0.txt")
  (data (i32.const 32) "global.txt")
  (data (i32.const 48) "no/such/folder/file.txt")
  (data (i32.const 80) "A line through an externref.\n")

  (table $shelf 4 externref)
  (global $kept (mut externref) (ref.null extern))

  ;; Collects, and traps unless exactly this many files are open.
  (func $expect (param $open i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $open)) (then unreachable)))

  ;; Writes the line, and traps unless all of it was written.
  (func $write_line (param $file externref)
    (if (i32.ne (call $write (local.get $file) (i32.const 80) (i32.const 29)) (i32.const 29))
      (then unreachable)))

  ;; Opens a file whose name is one digit different each time, and traps if that fails.
  (func $open_numbered (param $name i32) (param $len i32) (param $digit_at i32) (param $number i32)
    (result externref)
    (local $file externref)
    (i32.store8
      (i32.add (local.get $name) (local.get $digit_at))
      (i32.add (i32.const 48) (local.get $number)))
    (local.set $file (call $open (local.get $name) (local.get $len)))
    (if (ref.is_null (local.get $file)) (then unreachable))
    (local.get $file))

  ;; Each level holds one file open across the call below it. The file of a second handle is dropped before the call.
  (func $descend (param $depth i32)
    (local $mine externref)
    (if (i32.eqz (local.get $depth))
      (then
        (call $expect (i64.const 6))
        (return)))
    (local.set $mine
      (call $open_numbered (i32.const 0) (i32.const 15) (i32.const 10) (local.get $depth)))
    (call $write_line
      (call $open_numbered (i32.const 0) (i32.const 15) (i32.const 10) (local.get $depth)))
    (call $descend (i32.sub (local.get $depth) (i32.const 1)))
    (call $write_line (local.get $mine)))

  ;; Three handles live in the table alone; one of them is overwritten, the others are cleared.
  (func $use_table
    (local $index i32)
    (loop $next
      (table.set $shelf (local.get $index)
        (call $open_numbered (i32.const 16) (i32.const 11) (i32.const 6) (local.get $index)))
      (call $write_line (table.get $shelf (local.get $index)))
      (br_if $next
        (i32.lt_u
          (local.tee $index (i32.add (local.get $index) (i32.const 1)))
          (i32.const 3))))
    (call $expect (i64.const 4))
    (table.set $shelf (i32.const 1) (ref.null extern))
    (call $expect (i64.const 3))
    (table.fill $shelf (i32.const 0) (ref.null extern) (i32.const 4))
    (call $expect (i64.const 1)))

  (func (export "main")
    ;; A file that cannot be opened is a null reference, and writing to null is refused.
    (if (i32.eqz (ref.is_null (call $open (i32.const 48) (i32.const 23)))) (then unreachable))
    (if (i32.ne (call $write (ref.null extern) (i32.const 80) (i32.const 29)) (i32.const -1))
      (then unreachable))
    (global.set $kept (call $open (i32.const 32) (i32.const 10)))
    (call $print_ref (global.get $kept))
    (call $expect (i64.const 1))
    (call $descend (i32.const 5))
    (call $expect (i64.const 1))
    (call $use_table)
    (call $write_line (global.get $kept))
    (global.set $kept (ref.null extern))
    (call $expect (i64.const 0))))
