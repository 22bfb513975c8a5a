//! The partition's processor and memory.
#![allow(unsafe_code)] // the entry, interrupts, and memory by address

use core::arch::{asm, global_asm};
use core::fmt::Write;
use core::marker::PhantomData;
use core::panic::PanicInfo;
use core::ptr::with_exposed_provenance_mut;

use lhca::{Lhca, Line, RingMemory, Vmmcall};
use lhca_contract::{InformationPage, Segment};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::bare;

/// The interrupt that says that there is something to do.
pub(crate) const VECTOR: u8 = 32;

/// Of the memory's end, this is the stack's.
const STACK: u64 = 64 << 10;

// The entry: tables for one interrupt, that does nothing but end a HLT. RDI, the information page's address, goes on.
global_asm!(
    "
    .globl image_start
    image_start:
        lgdt [rip + 2f]
        lea rax, [rip + 5f]
        lea rcx, [rip + 4f + {gate}]
        mov [rcx], ax
        mov word ptr [rcx + 2], 8
        mov word ptr [rcx + 4], 0x8e00
        shr rax, 16
        mov [rcx + 6], ax
        lidt [rip + 3f]
        call {main}
        ud2
    5:  iretq
    .section .data
    .balign 16
    6:  .quad 0, 0x00209a0000000000, 0x0000920000000000
    2:  .word 23
        .quad 6b
    3:  .word {gate} + 15
        .quad 4f
    .balign 16
    4:  .skip {gate} + 16
    .text",
    gate = const 16 * VECTOR as usize,
    main = sym main,
);

extern "C" fn main(information: &'static InformationPage) -> ! {
    let result = Lhca::probe(Vmmcall).map(|lhca| {
        if let Err(error) = bare::run(&lhca, information) {
            panic!("{error}");
        }
    });
    panic!("{result:?}")
}

/// Says why, and ends the partition.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if let Ok(lhca) = Lhca::probe(Vmmcall) {
        let _ = writeln!(Console(&lhca), "{info}");
        lhca.exit(1);
    }
    loop {
        // SAFETY: with interrupts off, this ends the partition.
        unsafe { asm!("cli", "hlt") };
    }
}

struct Console<'a>(&'a Lhca<Vmmcall>);

impl Write for Console<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.console(text).map(|_| ()).map_err(|_| core::fmt::Error)
    }
}

/// Sleeps until there is an interrupt. One that came since interrupts were last on ends it at once.
pub(crate) fn wait() {
    // SAFETY: the one interrupt that is asked for has a gate.
    unsafe { asm!("sti", "hlt", "cli") };
}

/// The partition's memory between its image and its stack, given away piece by piece.
pub(crate) struct Memory {
    next: u64,
    end: u64,
}

impl Memory {
    pub(crate) fn new(information: &InformationPage) -> Self {
        let next = information.image_end.next_multiple_of(size_of::<Line>() as u64);
        Self { next, end: information.memory - STACK }
    }

    fn lines(&mut self, count: usize) -> &'static mut [Line] {
        let start = self.next;
        self.next += (count * size_of::<Line>()) as u64;
        assert!(self.next <= self.end, "too little memory");
        // SAFETY: it is mapped, zeroed, aligned, and nobody else's: neither the image's nor the stack's nor given before.
        unsafe { core::slice::from_raw_parts_mut(with_exposed_provenance_mut(start as usize), count) }
    }

    /// A ring of 2 to the power `log_entries` entries.
    pub(crate) fn ring<E: FromBytes + IntoBytes + Immutable>(&mut self, log_entries: u8) -> RingMemory<E> {
        RingMemory::new(self.lines(RingMemory::<E>::lines(log_entries)), log_entries)
    }

    /// A buffer of `length` bytes.
    pub(crate) fn buffer(&mut self, length: usize) -> Buffer {
        let start = self.lines(length.div_ceil(size_of::<Line>())).as_mut_ptr();
        Buffer { start: start.cast(), length, owned: PhantomData }
    }
}

/// Memory that the hypervisor fills and reads.
pub(crate) struct Buffer {
    start: *mut u8,
    length: usize,
    owned: PhantomData<&'static mut [u8]>,
}

impl Buffer {
    /// It from the byte `skip` on, as a work request names it.
    pub(crate) fn segment(&self, skip: usize) -> Segment {
        let address = self.start.expose_provenance() as u64 + skip as u64;
        Segment { address, length: (self.length - skip) as u32, l_key: Segment::PHYSICAL }
    }

    fn place<T>(&self, at: usize) -> *mut T {
        assert!(at + size_of::<T>() <= self.length && align_of::<T>() == 1, "not in the buffer");
        // SAFETY: it was just found to be inside.
        unsafe { self.start.add(at).cast() }
    }

    /// What is at the byte `at`.
    pub(crate) fn read<T: FromBytes>(&self, at: usize) -> T {
        // SAFETY: see `place`; any bytes are a `T`.
        unsafe { self.place::<T>(at).read_volatile() }
    }

    /// Puts `value` at the byte `at`.
    pub(crate) fn write<T: IntoBytes>(&self, at: usize, value: T) {
        // SAFETY: see `place`.
        unsafe { self.place::<T>(at).write_volatile(value) };
    }
}
