# A guest with its two trampolines, as a compiler emits them.

.section .text.guest, "ax"

# a0: the record, a1: a reference, a2: the host function
.global enter_guest
enter_guest:
    addi sp, sp, -16
    sw s0, 8(sp)
    sw ra, 12(sp)
    addi s0, sp, 8
    sw s0, 8(a0)                    # entry_fp
    call guest_start
    lw s0, 8(sp)
    lw ra, 12(sp)
    addi sp, sp, 16
    ret

# A function with a frame of two words, the first of which holds the reference.
.global guest_start
guest_start:
    addi sp, sp, -16
    sw s0, 8(sp)
    sw ra, 12(sp)
    addi s0, sp, 8
    sw a1, 0(sp)
    call exit_guest
.global guest_safepoint
guest_safepoint:
    lw s0, 8(sp)
    lw ra, 12(sp)
    addi sp, sp, 16
    ret
.global guest_end
guest_end:

exit_guest:
    addi sp, sp, -16
    sw s0, 8(sp)
    sw ra, 12(sp)
    addi s0, sp, 8
    sw ra, 0(a0)                    # exit_pc
    sw s0, 4(a0)                    # exit_fp
    jalr a2
    lw s0, 8(sp)
    lw ra, 12(sp)
    addi sp, sp, 16
    ret
