@ From the reset vector to Rust: floating point, a guard, memory for statics. Vectors of a Cortex-M4.

.syntax unified
.thumb

.section .vectors, "a", %progbits
    .word stack_top
    .word start
    .rept 14
    .word fault
    .endr

.section .text.start, "ax", %progbits
.global start
.type start, %function
.thumb_func
start:
    ldr r0, =0xe000ed88             @ CPACR: full access to coprocessors 10 and 11
    ldr r1, [r0]
    orr r1, r1, #(0xf << 20)
    str r1, [r0]
    ldr r0, =0xe000ed94             @ MPU: no access to the 64 KiB below the stack, else the default map
    ldr r1, =stack_guard + 0x10     @ RBAR: region 0
    str r1, [r0, #8]
    ldr r1, =0x1000001f             @ RASR: 2^16 bytes, no access
    str r1, [r0, #12]
    movs r1, #5                     @ CTRL: on, also for privileged code
    str r1, [r0]
    dsb
    isb
    ldr r0, =data_start
    ldr r1, =data_end
    ldr r2, =data_load
1:  cmp r0, r1
    bhs 2f
    ldr r3, [r2], #4
    str r3, [r0], #4
    b 1b
2:  ldr r0, =bss_start
    ldr r1, =bss_end
    movs r2, #0
3:  cmp r0, r1
    bhs 4f
    str r2, [r0], #4
    b 3b
4:  mov r7, r2
    bl kernel_main
5:  b 5b

@ Every exception is a failure: none is expected.
.global fault
.type fault, %function
.thumb_func
fault:
    mrs r0, ipsr
    ldr r1, [sp, #24]               @ the pc that the processor has stored
    ldr r2, =0xe000ed38             @ BFAR
    ldr r2, [r2]
    mov r3, sp
    ldr sp, =stack_top
    bl kernel_fault
6:  b 6b
.ltorg
