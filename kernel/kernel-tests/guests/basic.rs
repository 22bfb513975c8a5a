//! Guests that use the console, the information page and hypercalls, and guests that end in different ways.
#![allow(unsafe_code)] // code between two symbols

use super::image::guests;

guests! {
    /// Exits with code 42.
    exits: "mov eax, 21; mov edi, 42; vmmcall; ud2";
    /// Writes a line to its console, and exits with the number of bytes accepted.
    speaks: "
        mov eax, 20
        lea rdi, [rip + 1f]
        mov esi, 23
        vmmcall
        mov rdi, rdx
        mov eax, 21
        vmmcall
        1: .ascii \"hello from a partition\\n\"";
    /// Exits with the exclusive or of magic, version and memory size in the information page.
    reads_information: "
        mov rbx, [rdi]
        xor rbx, [rdi + 8]
        xor rbx, [rdi + 16]
        mov rdi, rbx
        mov eax, 21
        vmmcall";
    /// Makes two doorbells, three hypercalls and a CPUID. Exits with its VM exits, one byte each: doorbells, calls,
    /// halts, others.
    counts_exits: "
        mov ebx, 2
        2: mov eax, 18
        vmmcall
        dec ebx
        jnz 2b
        mov ebx, 3
        3: xor eax, eax
        vmmcall
        dec ebx
        jnz 3b
        cpuid
        mov edi, 0xb004
        mov eax, 23
        vmmcall
        cmp eax, 3
        jne 4f
        mov edi, 0xb000
        mov eax, 23
        vmmcall
        4: mov rdi, [0xb000]
        mov rax, [0xb008]
        shl rax, 8
        or rdi, rax
        mov rax, [0xb010]
        shl rax, 16
        or rdi, rax
        mov rax, [0xb020]
        shl rax, 24
        or rdi, rax
        mov eax, 21
        vmmcall";
    /// Exits with 0 if CPUID shows the hypervisor, the clock is monotonic, and EFER and unknown calls work as
    /// documented.
    looks_around: "
        mov eax, 1
        cpuid
        bt ecx, 31
        jnc 1f
        mov eax, 0x40000000
        cpuid
        cmp ebx, 0x74726f50
        jne 1f
        mov eax, 19
        vmmcall
        test rax, rax
        jne 1f
        mov rbx, rdx
        mov eax, 19
        vmmcall
        cmp rdx, rbx
        jb 1f
        mov ecx, 0xc0000080
        rdmsr
        cmp eax, 0xd01
        jne 1f
        and eax, ~1
        wrmsr
        rdmsr
        cmp eax, 0xd00
        jne 1f
        mov eax, 99
        vmmcall
        cmp rax, 1
        jne 1f
        xor edi, edi
        mov eax, 21
        vmmcall
        1: mov edi, 1
        mov eax, 21
        vmmcall";
    /// Halts with interrupts disabled.
    halts: "cli; hlt";
    /// Raises an exception without a handler.
    faults: "ud2";
    /// Reads outside its memory.
    strays: "mov rax, 0x40000000; mov rax, [rax]";
    /// Sets CR3 to an address outside its memory.
    loses_itself: "
        mov word ptr [0xa010], 0xfff
        mov qword ptr [0xa012], 0xb000
        lidt [0xa010]
        mov rax, 0x40000000
        mov cr3, rax";
    /// Counts at 0x8000 and never yields the processor.
    counts: "1: lock inc qword ptr [0x8000]; jmp 1b";
    /// Makes 1000 null hypercalls, and exits with the ticks of the last 999.
    calls: "
        mov r8d, 1000
        1: mov eax, 0
        vmmcall
        cmp r8d, 1000
        jne 2f
        rdtsc
        mov r9d, eax
        2: dec r8d
        jnz 1b
        rdtsc
        sub eax, r9d
        mov edi, eax
        mov eax, 21
        vmmcall";
}
