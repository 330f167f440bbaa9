#!/usr/bin/env bash
# Asks the engine for as much as each of its limits allows, and for more.
#
# What is too much is refused in seconds of processor time, in one line that names the limit, so that no guest takes much
# time or memory by its size. The limits are those of the engine's README. ENGINE names an engine that is built already.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/checks/tally.bash
. tests/checks/engine.bash

# The engine's limit that its README calls $1.
limit_of() {
    sed -n "s/^| $1 | \([0-9]*\).*/\1/p" tests/engine/README.md
}

# Runs the engine within $1 seconds of processor time and 4 GiB of addresses, twice what a store may take.
bounded() { # seconds, arguments
    (ulimit -t "$1" -v 4194304 && exec "$engine" "${@:2}") >"$files/printed" 2>"$files/error" </dev/null
}

# Shows how the engine ended.
ended() { # code
    echo "ended with code $1: $(head -c 300 "$files/error")"
    return 1
}

# Whether the engine refuses, in one line that ends with $1.
refuses() { # words, arguments
    local code=0
    bounded 20 "${@:2}" || code=$?
    if [ $code != 1 ] || [ "$(wc -l <"$files/error")" != 1 ] || ! grep -q "$1\$" "$files/error"; then ended $code; fi
}

# Whether the engine does as it is told. Compilation of much code takes its time.
accepts() { # arguments
    local code=0
    bounded 300 "$@" || code=$?
    [ $code = 0 ] || ended $code
}

# Prints a text so many times, with the number of each time in place of `&`.
times() { # how many, text
    seq "$1" | sed "s|.*|$2|"
}

# --- Limits of what a module has --------------------------------------------------------------------------------------

# A module of $1 bytes, most of them in a custom section.
with_bytes() {
    # Magic number and version take eight bytes, and the section's number and its size six.
    local rest=$(($1 - 14)) part
    printf '\0asm\1\0\0\0\0'
    for part in 1 2 3 4 5; do
        printf "\\x$(printf %x $((rest >> 7 * (part - 1) & 127 | (part < 5 ? 128 : 0))))"
    done
    head -c $rest /dev/zero
}

# A module with $1 items, each of which is $2, behind the item $3.
with_items() {
    echo "(module ${3-}"
    times "$1" "$2"
    echo ")"
}

# A module with one function, of $1 times $2, and then of as many times $3.
with_function() {
    echo "(module (func"
    times "$1" "$2"
    times "$1" "${3-}"
    echo "))"
}

# Checks the limit that the README calls $1: $2 makes a module, of how many and of the other arguments.
exact() {
    local limit
    limit=$(limit_of "$1")
    "$2" "$limit" "${@:3}" >"$files/most"
    "$2" $((limit + 1)) "${@:3}" >"$files/more"
    count_run "$limit $1 are not accepted" accepts compile "$files/most" -o "$files/object"
    count_run "$limit $1 and one are not refused" \
        refuses "limit exceeded: more than $limit $1" compile "$files/more" -o "$files/object"
}

# A body has its number of groups of locals before its instructions, and an end after them.
with_nops() { with_function $(($1 - 2)) nop; }
with_locals() { with_function "$1" "(local i32)"; }

exact "bytes of a module" with_bytes
exact "types" with_items "(type (func))"
exact "imports" with_items '(import "host" "gc" (func))'
exact "functions" with_items "(func nop nop nop nop)"
exact "globals" with_items "(global i32 (i32.const 0))"
exact "exports" with_items '(export "&" (memory 0))' "(memory 0)"
exact "element segments" with_items "(elem func)"
exact "data segments" with_items '(data "")'
exact "bytes of a function" with_nops
exact "locals of a function" with_locals
exact "nested blocks" with_function block end

# --- Limits of what a small module asks of the compiler ---------------------------------------------------------------

# Whether a module is refused for more $1 than its size allows.
excess() {
    count_run "$1 are not limited" \
        refuses "limit exceeded: more than [0-9]* $1" compile "$files/more" -o "$files/object"
}

# A thousand blocks that each take a thousand parameters.
{
    echo "(module (type \$t (func (param $(times 1000 i32)) (result $(times 1000 i32)))) (func"
    times 1000 "i32.const 0"
    times 1000 "block (type \$t) end"
    times 1000 drop
    echo "))"
} >"$files/more"
excess operands

# A thousand nested loops that all assign to the same locals: each is an operand of each loop.
{
    echo "(module (func (param i32) (local $(times 5000 i32))"
    times 1000 loop
    times 5000 "(local.set & (i32.const 0))"
    times 1000 end
    echo "))"
} >"$files/more"
excess operands

# Many values that are alive at many instructions.
{
    echo "(module (func (param i32) (local $(times 5000 i32))"
    times 5000 "(local.set & (i32.const 0))"
    times 30000 nop
    times 5000 "(drop (local.get &))"
    echo "))"
} >"$files/more"
excess "live values"

# Many references that are alive at many calls.
{
    echo "(module (func \$f) (func (param $(times 500 externref)) (local $(times 2500 externref))"
    times 2500 "(local.set & (local.get 0))"
    times 8000 "(call \$f)"
    times 2500 "(drop (local.get &))"
    echo "))"
} >"$files/more"
excess "live references"

# --- Limits of a store ------------------------------------------------------------------------------------------------

# Runs the module $2, which is refused with the words $1.
store_refuses() {
    echo "(module $2)" >"$files/more.wat"
    count_run "a store has more: $1" refuses "$1" run "$files/more.wat"
}

pages=$(limit_of "pages of a memory")
elements=$(limit_of "elements of a table")
bytes=$(limit_of "bytes of all memories and tables")
store_refuses "memory limit reached: $((pages + 1)) pages" "(memory $((pages + 1)))"
store_refuses "table limit reached: $((elements + 1)) elements" "(table $((elements + 1)) externref)"
store_refuses "limit exceeded: more than $bytes bytes of memories and tables" \
    "$(times $((bytes / elements / 8 + 1)) "(table $elements externref)")"
store_refuses "trap: call stack exhausted" '(func $main (export "main") (call $main))'

# A guest that grows until it has as much as it may have.
cat >"$files/grow.wat" <<END
(module
  (memory 0) (table 0 externref)
  (func \$check (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
  (func (export "main")
    (call \$check (i32.eq (memory.grow (i32.const $pages)) (i32.const 0)))
    (call \$check (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
    (call \$check (i32.eq (table.grow (ref.null extern) (i32.const $elements)) (i32.const 0)))
    (call \$check (i32.eq (table.grow (ref.null extern) (i32.const 1)) (i32.const -1)))))
END
count_run "a guest cannot have what it may have, or can have more" accepts run "$files/grow.wat"

# Tables of an instance that came to nothing do not count.
{
    echo "(module $(times $((bytes / elements / 8 + 1)) "(table $elements externref)"))"
    echo "(module (memory $pages))"
} >"$files/again.wast"
refused_once() {
    ! accepts wast "$files/again.wast" >"$files/ended" && grep -qx "1 passed, 1 failed, 0 skipped" "$files/printed"
}
count_run "tables that are gone count" refused_once
finish
