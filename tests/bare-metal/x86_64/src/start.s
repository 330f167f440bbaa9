# From the PVH loader's 32-bit mode to 64-bit Rust, with the first GiB mapped to itself.

.section .note.pvh, "a", @note
    .long 4                     # bytes in the name
    .long 4                     # bytes in the value
    .long 18                    # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long start32

.section .text.start, "ax"
.code32
.global start32
start32:
    cli
    mov eax, cr4
    or eax, 0x620               # PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov eax, offset page_map
    mov cr3, eax
    mov ecx, 0xc0000080         # EFER
    rdmsr
    or eax, 0x100               # LME
    wrmsr
    mov eax, cr0
    and eax, 0xfffffffb         # without EM: there is an FPU
    or eax, 0x80000002          # PG, MP
    mov cr0, eax
    lgdt [descriptors_at]
    ljmp 0x08, offset start64

.code64
start64:
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov rsp, offset stack_top
    xor ebp, ebp
    call kernel_main
    ud2

.section .data.start, "aw"
.balign 4096
page_map:
    .quad page_directories + 3
    .fill 511, 8, 0
page_directories:
    .quad page_directory + 3
    .fill 511, 8, 0
page_directory:
    .set page, 0
    .rept 512
    .quad page + 0x83           # present, writable, 2 MiB
    .set page, page + 0x200000
    .endr
descriptors:
    .quad 0
    .quad 0x00209a0000000000    # 64-bit code
descriptors_at:
    .word 15
    .long descriptors

.section .bss.stack, "aw", @nobits
.balign 16
    .skip 2 << 20
stack_top:
