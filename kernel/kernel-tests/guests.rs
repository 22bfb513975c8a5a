//! Tiny images for partitions. Each is position-independent code, laid to [`ADDRESS`] and begun at its first byte.
#![allow(unsafe_code)] // code between two symbols

use core::arch::global_asm;

use portico_kernel::partition::image::Image;

/// Where the images are laid.
pub(crate) const ADDRESS: u64 = 0x10_0000;

/// Declares images: a name and its code.
macro_rules! guests {
    ($($(#[$doc:meta])* $name:ident: $code:expr;)*) => { $(
        global_asm!(
            concat!(".section .rodata.guests, \"a\"\n", stringify!($name), "_start:"),
            $code,
            concat!(stringify!($name), "_end:\n.text"),
        );

        $(#[$doc])*
        pub(crate) fn $name(memory: u64) -> Image<'static> {
            unsafe extern "C" {
                #[link_name = concat!(stringify!($name), "_start")]
                static START: u8;
                #[link_name = concat!(stringify!($name), "_end")]
                static END: u8;
            }
            let start = &raw const START;
            // SAFETY: the two symbols frame the code.
            let code = unsafe { core::slice::from_raw_parts(start, (&raw const END).offset_from_unsigned(start)) };
            Image::flat(code, ADDRESS, memory).expect("the image fits")
        }
    )* };
}

/// Code that takes one interrupt or exception at its label 3: the gate at address `gate` of a table at 0xb000 leads there.
macro_rules! interruptible {
    ($gate:literal, $code:literal) => {
        concat!(
            "
        mov qword ptr [0x9008], 0
        mov dword ptr [0x900c], 0x00209a00
        mov word ptr [0xa000], 15
        mov qword ptr [0xa002], 0x9000
        lgdt [0xa000]
        lea rax, [rip + 3f]
        mov ebx, ",
            $gate,
            "
        mov [rbx], ax
        mov word ptr [rbx + 2], 8
        mov word ptr [rbx + 4], 0x8e00
        shr rax, 16
        mov [rbx + 6], ax
        mov word ptr [0xa010], 0x40f
        mov qword ptr [0xa012], 0xb000
        lidt [0xa010]\n",
            $code
        )
    };
}

guests! {
    /// Exits with code 42.
    exits: "mov eax, 21; mov edi, 42; vmmcall; ud2";
    /// Says something, and exits with how many bytes were taken.
    speaks: "
        mov eax, 20
        lea rdi, [rip + 1f]
        mov esi, 23
        vmmcall
        mov rdi, rdx
        mov eax, 21
        vmmcall
        1: .ascii \"hello from a partition\\n\"";
    /// Exits with the information page's words that make up magic, version and memory size, combined by exclusive or.
    reads_information: "
        mov rbx, [rdi]
        xor rbx, [rdi + 8]
        xor rbx, [rdi + 16]
        mov rdi, rbx
        mov eax, 21
        vmmcall";
    /// Rings twice, calls three times, looks at CPUID once, and exits with how often it was left for each, in bytes: by
    /// doorbells, calls, halts, and all else.
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
    /// Exits with 0 if CPUID shows the hypervisor, and the time goes on.
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
    /// Halts for good.
    halts: "cli; hlt";
    /// Raises an exception that nothing takes.
    faults: "ud2";
    /// Reads where it has no memory.
    strays: "mov rax, 0x40000000; mov rax, [rax]";
    /// Has its page tables where it has no memory, and with them its descriptors.
    loses_itself: "
        mov word ptr [0xa010], 0xfff
        mov qword ptr [0xa012], 0xb000
        lidt [0xa010]
        mov rax, 0x40000000
        mov cr3, rax";
    /// Counts at 0x8000, and never gives the processor back.
    counts: "1: lock inc qword ptr [0x8000]; jmp 1b";
    /// Tries what is not a partition's; the number at 0x8000 says which of it. Exits with 1 if it may.
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
    /// Sets every register, x87 and SSE included, from the number at 0x8000, and looks again and again whether it is still
    /// there; counts the rounds at 0x8008. Exits with 1 if it is not.
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
    /// Sleeps until it is interrupted with vector 0x40, as often as the number at 0x8000 says; counts at 0x8008; exits
    /// with the count.
    sleeps: interruptible!("0xb400", "
        1: sti
        hlt
        mov rdi, [0x8008]
        cmp rdi, [0x8000]
        jb 1b
        mov eax, 21
        vmmcall
        3: inc qword ptr [0x8008]
        iretq");
    /// Turns interrupts on and off until it was interrupted with vector 0x40 as often as the number at 0x8000 says, which it
    /// counts at 0x8008; then exits with how many of the interrupts came right behind an STI.
    opens_and_shuts: interruptible!("0xb400", "
        xor edi, edi
        1: cli
        sti
        2: mov rax, [0x8008]
        cmp rax, [0x8000]
        jb 1b
        mov eax, 21
        vmmcall
        3: push rax
        lea rax, [rip + 2b]
        cmp [rsp + 8], rax
        jne 4f
        inc edi
        4: inc qword ptr [0x8008]
        pop rax
        iretq");
    /// Steps through five instructions, and exits with how many debug exceptions it took.
    steps: interruptible!("0xb010", "
        pushfq
        or qword ptr [rsp], 0x100
        popfq
        nop
        nop
        pushfq
        and qword ptr [rsp], ~0x100
        popfq
        mov rdi, [0x8008]
        mov eax, 21
        vmmcall
        3: inc qword ptr [0x8008]
        iretq");
    /// Makes its pages the user's, and calls from privilege level 3 whatever there is to be called; exits with how many calls
    /// were refused there, if level 0 is still answered. SYSRET and SYSCALL lead there and back, which need no descriptors.
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
    /// Tries INVD, and exits with 0 if an undefined-opcode exception comes of it, there.
    invalidates: interruptible!("0xb060", "
        mov edi, 1
        4: invd
        2: mov eax, 21
        vmmcall
        3: lea rax, [rip + 4b]
        xor edi, edi
        cmp [rsp], rax
        setne dil
        jmp 2b");
    /// Tries to read an MSR, and exits with 0 if a general-protection exception comes of it, there and with the error code 0.
    reads_msr: interruptible!("0xb0d0", "
        mov edi, 1
        mov ecx, 0xc0010117
        4: rdmsr
        2: mov eax, 21
        vmmcall
        3: lea rax, [rip + 4b]
        xor edi, edi
        cmp [rsp + 8], rax
        setne dil
        or rdi, [rsp]
        jmp 2b");
    /// The same of CR8.
    writes_cr8: interruptible!("0xb0d0", "
        mov edi, 1
        4: mov cr8, rax
        2: mov eax, 21
        vmmcall
        3: lea rax, [rip + 4b]
        xor edi, edi
        cmp [rsp + 8], rax
        setne dil
        or rdi, [rsp]
        jmp 2b");
    /// Leaves something in each register that it may write, and exits with 0.
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
    /// Exits with 0 if each register is as a partition begins with it; else with the number of the check that failed.
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
    /// Asks for a timer, and halts, until it was interrupted as often as its number says; then exits with its count of
    /// interrupts that came too early.
    wakes_itself: interruptible!("0xb400", "
        mov esi, 0x40
        1: mov eax, 19
        vmmcall
        lea rdi, [rdx + 300000]
        mov eax, 22
        vmmcall
        sti
        hlt
        cli
        mov eax, 19
        vmmcall
        cmp rdx, rdi
        adc r9d, 0
        mov rax, [0x8008]
        cmp rax, [0x8000]
        jb 1b
        mov rdi, r9
        mov eax, 21
        vmmcall
        3: inc qword ptr [0x8008]
        iretq");
    /// Asks for a timer, and works, until it was interrupted as often as its number says; then exits.
    works_by_the_clock: interruptible!("0xb400", "
        mov esi, 0x40
        sti
        1: mov r8, [0x8008]
        mov eax, 19
        vmmcall
        lea rdi, [rdx + 300000]
        mov eax, 22
        vmmcall
        2: cmp r8, [0x8008]
        je 2b
        mov rax, [0x8008]
        cmp rax, [0x8000]
        jb 1b
        xor edi, edi
        mov eax, 21
        vmmcall
        3: inc qword ptr [0x8008]
        iretq");
    /// Makes 1000 null hypercalls, and exits with the ticks that the last 999 took.
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
