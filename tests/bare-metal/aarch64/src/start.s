// From QEMU's entry at exception level 1 to Rust: vectors, floating point, caches, and pointer
// authentication where the core has it. Memory is mapped to itself.

.section .text.start, "ax"
.global start
start:
    msr daifset, #15
    adrp x0, stack_top
    add x0, x0, :lo12:stack_top
    mov sp, x0
    adrp x0, vectors
    add x0, x0, :lo12:vectors
    msr vbar_el1, x0

    mov x0, #(3 << 20)              // FPEN: floating point does not trap
    msr cpacr_el1, x0

    mov x0, #0xff00                 // memory type 0: device, 1: normal, write-back
    msr mair_el1, x0
    ldr x0, =0x280803519            // 39 bits of address, 40 physical, 4 KiB granule, cacheable
    msr tcr_el1, x0
    adrp x0, page_map
    msr ttbr0_el1, x0
    tlbi vmalle1
    dsb sy
    isb
    mrs x0, sctlr_el1
    ldr x1, =0x1005                 // M, C, I
    orr x0, x0, x1

    mrs x1, id_aa64isar1_el1
    ubfx x2, x1, #4, #8             // APA and API: pointer authentication
    cbz x2, without_authentication
    ldr x2, =0x8a5cd789635d2dff
    msr S3_0_C2_C1_0, x2            // APIAKeyLo_EL1
    ldr x2, =0x121fd5fc65d7ae1d
    msr S3_0_C2_C1_1, x2            // APIAKeyHi_EL1
    mov x2, #(1 << 31)              // EnIA
    orr x0, x0, x2
without_authentication:
    msr sctlr_el1, x0
    isb

    mov x29, #0
    mov x30, #0
    bl kernel_main
    b .

// Every exception is a failure: none is expected.
.balign 2048
vectors:
    .rept 16
    .balign 128
    mrs x0, esr_el1
    mrs x1, elr_el1
    mrs x2, far_el1
    adrp x3, stack_top
    add x3, x3, :lo12:stack_top
    mov sp, x3
    b kernel_fault
    .endr

.section .data.start, "aw"
.balign 4096
page_map:
    .quad 0x00000000 + 0x401        // the first GiB: devices
    .quad 0x40000000 + 0x705        // the second: normal memory, executable
    .fill 510, 8, 0

.section .bss.stack, "aw", @nobits
.balign 16
    .skip 2 << 20
stack_top:
