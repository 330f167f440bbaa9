@ A guest with its two trampolines, as a compiler emits them.

.syntax unified
.thumb

.section .text.guest, "ax", %progbits

@ r0: the record, r1: a reference, r2: the host function
.global enter_guest
.type enter_guest, %function
.thumb_func
enter_guest:
    push {r7, lr}
    mov r7, sp
    str r7, [r0, #8]                @ entry_fp
    bl guest
    pop {r7, pc}

.global guest_start
guest_start:

@ A function with a frame of two words, the first of which holds the reference.
.type guest, %function
.thumb_func
guest:
    push {r7, lr}
    mov r7, sp
    sub sp, #8
    str r1, [sp]
    bl exit_guest
.global guest_safepoint
guest_safepoint:
    add sp, #8
    pop {r7, pc}

.global guest_end
guest_end:

.type exit_guest, %function
.thumb_func
exit_guest:
    push {r7, lr}
    mov r7, sp
    str lr, [r0, #0]                @ exit_pc
    str r7, [r0, #4]                @ exit_fp
    blx r2
    pop {r7, pc}
