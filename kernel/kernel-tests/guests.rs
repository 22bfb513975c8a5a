//! Tiny images for partitions. Each is position-independent code, laid to [`ADDRESS`] and begun at its first byte.
#![allow(unsafe_code)] // code between two symbols

use core::arch::global_asm;

use portico_kernel::partition::image::Image;

/// Where the images are laid.
pub(crate) const ADDRESS: u64 = 0x10_0000;

/// Declares images: a name and its code.
macro_rules! guests {
    ($($(#[$doc:meta])* $name:ident: $code:literal;)*) => { $(
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
    /// Counts at 0x8000, and never gives the processor back.
    counts: "1: lock inc qword ptr [0x8000]; jmp 1b";
    /// Tries what is not a partition's: the number 0 to 7 at 0x8000 says which. Exits with 1 if it may.
    reaches: "
        mov rbx, [0x8000]
        cmp ebx, 0
        je 10f
        cmp ebx, 1
        je 11f
        cmp ebx, 2
        je 12f
        cmp ebx, 3
        je 13f
        cmp ebx, 4
        je 14f
        cmp ebx, 5
        je 15f
        cmp ebx, 6
        je 16f
        mov dr0, rax; jmp 1f
        10: mov cr8, rax; jmp 1f
        11: mov rax, cr4; or rax, 0x40000; mov cr4, rax; jmp 1f
        12: xor ecx, ecx; mov eax, 7; xor edx, edx; xsetbv; jmp 1f
        13: mov dx, 0xf4; mov al, 0x10; out dx, al; jmp 1f
        14: mov ecx, 0xc0010117; rdmsr; jmp 1f
        15: mov rax, 0x1000; vmrun rax; jmp 1f
        16: mov ecx, 0xc0000080; rdmsr; and eax, ~0x100; wrmsr
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
        cmp rdx, 0x10000
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
    sleeps: "
        mov qword ptr [0x9008], 0
        mov dword ptr [0x900c], 0x00209a00
        mov word ptr [0xa000], 15
        mov qword ptr [0xa002], 0x9000
        lgdt [0xa000]
        lea rax, [rip + 3f]
        mov [0xb400], ax
        mov word ptr [0xb402], 8
        mov word ptr [0xb404], 0x8e00
        shr rax, 16
        mov [0xb406], ax
        mov word ptr [0xa010], 0x40f
        mov qword ptr [0xa012], 0xb000
        lidt [0xa010]
        1: sti
        hlt
        mov rdi, [0x8008]
        cmp rdi, [0x8000]
        jb 1b
        mov eax, 21
        vmmcall
        3: inc qword ptr [0x8008]
        iretq";
    /// Asks for a timer, and halts, until it was interrupted as often as its number says; then exits with its count of
    /// interrupts that came too early.
    wakes_itself: "
        mov qword ptr [0x9008], 0
        mov dword ptr [0x900c], 0x00209a00
        mov word ptr [0xa000], 15
        mov qword ptr [0xa002], 0x9000
        lgdt [0xa000]
        lea rax, [rip + 3f]
        mov [0xb400], ax
        mov word ptr [0xb402], 8
        mov word ptr [0xb404], 0x8e00
        shr rax, 16
        mov [0xb406], ax
        mov word ptr [0xa010], 0x40f
        mov qword ptr [0xa012], 0xb000
        lidt [0xa010]
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
        iretq";
    /// Asks for a timer, and works, until it was interrupted as often as its number says; then exits.
    works_by_the_clock: "
        mov qword ptr [0x9008], 0
        mov dword ptr [0x900c], 0x00209a00
        mov word ptr [0xa000], 15
        mov qword ptr [0xa002], 0x9000
        lgdt [0xa000]
        lea rax, [rip + 3f]
        mov [0xb400], ax
        mov word ptr [0xb402], 8
        mov word ptr [0xb404], 0x8e00
        shr rax, 16
        mov [0xb406], ax
        mov word ptr [0xa010], 0x40f
        mov qword ptr [0xa012], 0xb000
        lidt [0xa010]
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
        iretq";
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
