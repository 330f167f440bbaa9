;; Bulk operations on memories and tables, right up to the edge and beyond it.
(module
  (import "host" "new" (func $new (param i64) (result externref)))
  (import "host" "value" (func $value (param externref) (result i64)))
  (import "host" "gc" (func $gc))
  (import "host" "live" (func $live (result i64)))
  (import "host" "try_call" (func $try_call (param funcref) (result i32)))

  (memory 1 2)
  (data $words "externref")
  (data (i32.const 100) "active")
  (table $references 32 64 externref)
  (table $functions 8 funcref)
  (elem $both func $seven $eight)
  (elem (table $functions) (i32.const 6) func $eight)
  (elem declare func $beyond_memory $beyond_table $dropped_data $dropped_elements)
  (type $number (func (result i64)))

  (func $seven (result i64) (i64.const 7))
  (func $eight (result i64) (i64.const 8))

  (func $expect (param $alive i64)
    (call $gc)
    (if (i64.ne (call $live) (local.get $alive)) (then unreachable)))

  (func $byte_is (param $address i32) (param $byte i32)
    (if (i32.ne (i32.load8_u (local.get $address)) (local.get $byte)) (then unreachable)))

  (func $memories
    (call $byte_is (i32.const 105) (i32.const 101))
    (memory.fill (i32.const 65530) (i32.const 0xab) (i32.const 6))
    (call $byte_is (i32.const 65535) (i32.const 0xab))
    (memory.init $words (i32.const 200) (i32.const 0) (i32.const 9))
    (call $byte_is (i32.const 208) (i32.const 102))
    ;; Overlapping, in both directions.
    (memory.copy (i32.const 201) (i32.const 200) (i32.const 9))
    (call $byte_is (i32.const 209) (i32.const 102))
    (memory.copy (i32.const 200) (i32.const 201) (i32.const 9))
    (call $byte_is (i32.const 200) (i32.const 101))
    (if (i32.ne (memory.grow (i32.const 1)) (i32.const 1)) (then unreachable))
    (call $byte_is (i32.const 65536) (i32.const 0))
    (call $byte_is (i32.const 65535) (i32.const 0xab))
    (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)))

  (func $tables
    (local $one externref)
    (local.set $one (call $new (i64.const 1)))
    (table.fill $references (i32.const 0) (local.get $one) (i32.const 16))
    (table.copy $references $references (i32.const 8) (i32.const 0) (i32.const 16))
    (call $expect (i64.const 1))
    (if (i64.ne (call $value (table.get $references (i32.const 23))) (i64.const 1))
      (then unreachable))
    (if (i32.ne (table.grow $references (call $new (i64.const 2)) (i32.const 32)) (i32.const 32))
      (then unreachable))
    (call $expect (i64.const 2))
    (if (i64.ne (call $value (table.get $references (i32.const 63))) (i64.const 2))
      (then unreachable))
    (table.fill $references (i32.const 0) (ref.null extern) (i32.const 64))
    (call $expect (i64.const 1))
    (if (i64.ne (call $value (local.get $one)) (i64.const 1)) (then unreachable)))

  (func $functions
    (table.init $functions $both (i32.const 0) (i32.const 0) (i32.const 2))
    (table.copy $functions $functions (i32.const 1) (i32.const 0) (i32.const 2))
    (if
      (i64.ne
        (i64.add
          (call_indirect $functions (type $number) (i32.const 2))
          (call_indirect $functions (type $number) (i32.const 1)))
        (i64.const 15))
      (then unreachable))
    (if (i64.ne (call_indirect $functions (type $number) (i32.const 6)) (i64.const 8))
      (then unreachable)))

  (func $beyond_memory (memory.fill (i32.const 131070) (i32.const 1) (i32.const 3)))
  (func $beyond_table (table.fill $references (i32.const 60) (call $new (i64.const 3)) (i32.const 5)))
  (func $dropped_data
    (data.drop $words)
    (memory.init $words (i32.const 0) (i32.const 0) (i32.const 1)))
  (func $dropped_elements
    (elem.drop $both)
    (table.init $functions $both (i32.const 0) (i32.const 0) (i32.const 1)))

  (func $traps (param $function funcref) (param $code i32)
    (if (i32.ne (call $try_call (local.get $function)) (local.get $code)) (then unreachable)))

  (func (export "main")
    (call $memories)
    (call $tables)
    (call $functions)
    ;; 5 and 6 are the numbers of accesses out of bounds.
    (call $traps (ref.func $beyond_memory) (i32.const 5))
    (call $byte_is (i32.const 131070) (i32.const 0))
    (call $traps (ref.func $beyond_table) (i32.const 6))
    (call $traps (ref.func $dropped_data) (i32.const 5))
    (call $traps (ref.func $dropped_elements) (i32.const 6))
    (call $expect (i64.const 0))))
