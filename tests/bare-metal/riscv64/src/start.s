# From QEMU's entry in machine mode to Rust: vectors and floating point. There is no paging.

.section .text.start, "ax"
.global start
start:
    csrw mie, zero
    la t0, fault
    csrw mtvec, t0
    li t0, 0x2000                   # FS: floating point is on
    csrs mstatus, t0
    la sp, stack_top
    li s0, 0
    li ra, 0
    call kernel_main
1:  j 1b

# Every exception is a failure: none is expected.
.balign 4
fault:
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    la sp, stack_top
    call kernel_fault
1:  j 1b

.section .bss.stack, "aw", @nobits
.balign 16
    .skip 2 << 20
stack_top:
