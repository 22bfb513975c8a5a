//! Guests that execute privileged operations.
#![allow(unsafe_code)] // code between two symbols

use super::image::guests;

guests! {
    /// Executes the privileged operation with the number at 0x8000. Exits with 1 if the operation succeeds.
    reaches: "
        mov ebx, [0x8000]
        shl ebx, 5
        lea rax, [rip + 2f]
        add rbx, rax
        jmp rbx
        .balign 32
        2: mov cr8, rax; jmp 1f
        .balign 32
        mov rax, cr4; or rax, 0x40000; mov cr4, rax; jmp 1f
        .balign 32
        xor ecx, ecx; mov eax, 7; xor edx, edx; xsetbv; jmp 1f
        .balign 32
        mov dx, 0xf4; mov al, 0x10; out dx, al; jmp 1f
        .balign 32
        mov dx, 0xffff; in eax, dx; jmp 1f
        .balign 32
        mov edi, 0x9000; mov ecx, 1; mov dx, 0xcf8; rep insd; jmp 1f
        .balign 32
        mov ecx, 0xc0010117; rdmsr; jmp 1f
        .balign 32
        mov ecx, 0x1b; wrmsr; jmp 1f
        .balign 32
        mov ecx, 0x40000000; rdmsr; jmp 1f
        .balign 32
        mov ecx, 0x277; rdmsr; jmp 1f
        .balign 32
        mov ecx, 0xc0000080; rdmsr; and eax, ~0x100; wrmsr; jmp 1f
        .balign 32
        mov dr0, rax; jmp 1f
        .balign 32
        mov rax, dr7; jmp 1f
        .balign 32
        xor ecx, ecx; rdpmc; jmp 1f
        .balign 32
        mov rax, 0x1000; vmrun rax; jmp 1f
        .balign 32
        mov rax, 0x1000; vmload rax; jmp 1f
        .balign 32
        mov rax, 0x1000; vmsave rax; jmp 1f
        .balign 32
        stgi; jmp 1f
        .balign 32
        clgi; jmp 1f
        .balign 32
        invlpga rax, ecx; jmp 1f
        .balign 32
        invd; jmp 1f
        .balign 32
        wbinvd; jmp 1f
        .balign 32
        xor ecx, ecx; xor edx, edx; monitor; jmp 1f
        .balign 32
        xor ecx, ecx; mwait; jmp 1f
        .balign 32
        .byte 0xf1; jmp 1f
        .balign 32
        rsm; jmp 1f
        .balign 32
        skinit eax; jmp 1f
        .balign 32
        xor ecx, ecx; rdpru
        1: mov edi, 1; mov eax, 21; vmmcall";
    /// Makes its pages accessible to privilege level 3, and makes every hypercall from there. Exits with the number of
    /// refused calls if level 0 still gets an answer. SYSRET and SYSCALL change the level, because they need no
    /// descriptors.
    calls_unprivileged: "
        or byte ptr [0x2000], 4
        or byte ptr [0x3000], 4
        mov rax, cr3
        mov cr3, rax
        xor r8d, r8d
        mov ecx, 0xc0000081
        xor eax, eax
        mov edx, 0x00100008
        wrmsr
        mov ecx, 0xc0000082
        lea rax, [rip + 3f]
        xor edx, edx
        wrmsr
        lea rcx, [rip + 1f]
        mov r11d, 2
        sysretq
        1: xor ebx, ebx
        2: mov eax, ebx
        xor edi, edi
        vmmcall
        cmp rax, 2
        sete al
        movzx eax, al
        add r8d, eax
        inc ebx
        cmp ebx, 32
        jne 2b
        syscall
        3: mov eax, 0
        vmmcall
        test rax, rax
        jnz 4f
        mov edi, r8d
        4: mov eax, 21
        vmmcall";
}
