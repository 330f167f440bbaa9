# From QEMU's entry in machine mode to Rust: vectors, a guard, memory for statics. There is no paging.

.section .text.start, "ax"
.global start
start:
    csrw mie, zero
    la t0, fault
    csrw mtvec, t0
    lui t0, %hi(stack_guard)        # PMP: the region below the stack, as NAPOT, is locked
    addi t0, t0, %lo(stack_guard)   # without access
    csrw pmpaddr0, t0
    li t0, 0x98
    csrw pmpcfg0, t0
    la sp, stack_top
    la t0, data_start
    la t1, data_end
    la t2, data_load
1:  bgeu t0, t1, 2f
    lw t3, 0(t2)
    sw t3, 0(t0)
    addi t0, t0, 4
    addi t2, t2, 4
    j 1b
2:  la t0, bss_start
    la t1, bss_end
3:  bgeu t0, t1, 4f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 3b
4:  li s0, 0
    li ra, 0
    call kernel_main
5:  j 5b

# Every exception is a failure: none is expected.
.balign 4
fault:
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    mv a3, sp
    la sp, stack_top
    call kernel_fault
6:  j 6b
