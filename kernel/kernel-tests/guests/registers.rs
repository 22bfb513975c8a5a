//! Guests that check their registers.
#![allow(unsafe_code)] // code between two symbols

use super::image::guests;

guests! {
    /// Fills all registers, x87 and SSE included, from the number at 0x8000, and checks them in a loop. Counts the
    /// rounds at 0x8008. Exits with 1 if a register changed.
    keeps_registers: "
        mov rax, [0x8000]
        movq xmm0, rax
        movq xmm15, rax
        movq mm7, rax
        2:
        mov rbx, [0x8000]
        lea rsi, [rbx + 1]
        lea rdi, [rbx + 2]
        lea rbp, [rbx + 3]
        lea r8, [rbx + 4]
        lea r9, [rbx + 5]
        lea r10, [rbx + 6]
        lea r11, [rbx + 7]
        lea r12, [rbx + 8]
        lea r13, [rbx + 9]
        lea r14, [rbx + 10]
        lea r15, [rbx + 11]
        lea rsp, [rbx + 12]
        mov eax, 0
        vmmcall
        cmp rax, 0
        jne 1f
        shr rdx, 16
        cmp rdx, 1
        jne 1f
        mov rcx, [0x8000]
        sub rsi, 1
        sub rdi, 2
        sub rbp, 3
        sub r8, 4
        sub r9, 5
        sub r10, 6
        sub r11, 7
        sub r12, 8
        sub r13, 9
        sub r14, 10
        sub r15, 11
        sub rsp, 12
        cmp rbx, rcx; jne 1f
        cmp rsi, rcx; jne 1f
        cmp rdi, rcx; jne 1f
        cmp rbp, rcx; jne 1f
        cmp r8, rcx; jne 1f
        cmp r9, rcx; jne 1f
        cmp r10, rcx; jne 1f
        cmp r11, rcx; jne 1f
        cmp r12, rcx; jne 1f
        cmp r13, rcx; jne 1f
        cmp r14, rcx; jne 1f
        cmp r15, rcx; jne 1f
        cmp rsp, rcx; jne 1f
        movq rax, xmm0
        cmp rax, rcx; jne 1f
        movq rax, xmm15
        cmp rax, rcx; jne 1f
        movq rax, mm7
        cmp rax, rcx; jne 1f
        inc qword ptr [0x8008]
        jmp 2b
        1: mov edi, 1; mov eax, 21; vmmcall";
    /// Leaves a value in each register that it may write, and exits with 0.
    dirties: "
        mov rax, -2
        movq xmm0, rax
        movq xmm15, rax
        fld1
        fst qword ptr [0x9000]
        movq mm3, rax
        mov dword ptr [0x9000], 0x1f00
        ldmxcsr [0x9000]
        mov word ptr [0x9000], 0x27f
        fldcw [0x9000]
        mov cr2, rax
        lea rsi, [rip + 2f]
        3: mov ecx, [rsi]
        test ecx, ecx
        jz 4f
        mov eax, 0x4444
        xor edx, edx
        wrmsr
        add rsi, 4
        jmp 3b
        2: .long 0x174, 0x175, 0x176, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0
        4: mov rbx, -1
        mov rcx, rbx
        mov rdx, rbx
        mov rsi, rbx
        mov rbp, rbx
        mov r8, rbx
        mov r9, rbx
        mov r10, rbx
        mov r11, rbx
        mov r12, rbx
        mov r13, rbx
        mov r14, rbx
        mov r15, rbx
        mov eax, 21
        xor edi, edi
        vmmcall";
    /// Exits with 0 if each register has its initial value; else with the number of the failed check.
    begins_clean: "
        or rax, rbx
        or rax, rcx
        or rax, rdx
        or rax, rsi
        or rax, rbp
        or rax, r8
        or rax, r9
        or rax, r10
        or rax, r11
        or rax, r12
        or rax, r13
        or rax, r14
        or rax, r15
        mov edi, 1
        jnz 1f
        mov rax, cr2
        test rax, rax
        mov edi, 2
        jnz 1f
        fxsave64 [0x9000]
        cmp dword ptr [0x9000], 0x37f
        mov edi, 3
        jne 1f
        cmp dword ptr [0x9018], 0x1f80
        mov edi, 4
        jne 1f
        xor eax, eax
        lea rsi, [0x9004]
        5: or eax, [rsi]
        add rsi, 4
        cmp rsi, 0x9018
        jne 5b
        lea rsi, [0x9020]
        6: or eax, [rsi]
        add rsi, 4
        cmp rsi, 0x91a0
        jne 6b
        test eax, eax
        mov edi, 5
        jnz 1f
        lea rsi, [rip + 2f]
        mov edi, 6
        3: mov ecx, [rsi]
        test ecx, ecx
        jz 4f
        rdmsr
        or eax, edx
        jnz 1f
        add rsi, 4
        jmp 3b
        2: .long 0x174, 0x175, 0x176, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0
        4: xor edi, edi
        1: mov eax, 21
        vmmcall";
}
