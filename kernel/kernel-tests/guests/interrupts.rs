//! Guests that take interrupts and exceptions.
#![allow(unsafe_code)] // code between two symbols

use super::image::guests;

/// Code with a handler at its label 3 for one interrupt or exception, whose gate is at the address `gate`. The macro
/// sets up a GDT at 0x9000 and the IDT at 0xb000.
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
    /// Halts until it has taken as many interrupts with vector 0x40 as the number at 0x8000. Counts at 0x8008, and
    /// exits with the count.
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
    /// Disables and enables interrupts until it has taken as many with vector 0x40 as the number at 0x8000. Counts at
    /// 0x8008, and exits with the number of interrupts taken directly after an STI.
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
    /// Single-steps five instructions, and exits with the number of debug exceptions.
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
    /// Executes INVD. Exits with 0 if it raises an undefined-opcode exception at the instruction.
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
    /// Reads an MSR. Exits with 0 if it raises a general-protection exception at the instruction with error code 0.
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
    /// Writes CR8. Exits with 0 if it raises a general-protection exception at the instruction with error code 0.
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
    /// Sets the timer and halts until it has taken as many interrupts as the number at 0x8000. Exits with the number of
    /// early interrupts.
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
    /// Sets the timer and works until it has taken as many interrupts as the number at 0x8000; then exits.
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
}
