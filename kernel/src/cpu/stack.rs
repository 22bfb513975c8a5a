//! Stacks of the processors. An unmapped guard page below each makes an overflow fault at once.

use core::cell::UnsafeCell;

use super::local::MAX_CPUS;

const PAGE: usize = 4096;

/// Stack of `SIZE` bytes above its guard page.
#[repr(C, align(4096))]
pub struct Stack<const SIZE: usize> {
    guard: [u8; PAGE],
    space: UnsafeCell<[u8; SIZE]>,
}

impl<const SIZE: usize> Stack<SIZE> {
    const fn new() -> Self {
        Self { guard: [0; PAGE], space: UnsafeCell::new([0; SIZE]) }
    }

    /// Returns the address from which the stack grows down.
    fn top(&self) -> u64 {
        self.guard() + (PAGE + SIZE) as u64
    }

    /// Returns the address of the guard page.
    fn guard(&self) -> u64 {
        (&raw const self.guard) as u64
    }
}

/// Stacks of one processor: its main stack, and those of the interrupt stack table (IST), one for each kind of event
/// that can interrupt another.
#[repr(C)]
pub struct CpuStacks {
    main: Stack<{ 64 << 10 }>,
    interrupt: Stack<{ 16 << 10 }>,
    fault: Stack<{ 16 << 10 }>,
    double_fault: Stack<{ 16 << 10 }>,
    nmi: Stack<{ 16 << 10 }>,
    machine_check: Stack<{ 16 << 10 }>,
}

/// Stack of the interrupt stack table; the value is the entry's index from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ist {
    /// Device, timer and inter-processor interrupts.
    Interrupt = 0,
    /// Exceptions without a stack of their own.
    Fault = 1,
    /// Double fault.
    DoubleFault = 2,
    /// Non-maskable interrupt.
    Nmi = 3,
    /// Machine check.
    MachineCheck = 4,
}

/// Number of [`Ist`] stacks.
pub const IST_STACKS: usize = 5;

/// Offset of the top of the main stack in a processor's stacks, in bytes.
pub const MAIN_TOP: usize = PAGE + (64 << 10);

/// Size of one processor's stacks in bytes.
pub const STRIDE: usize = size_of::<CpuStacks>();

/// Stacks of all processors. Only the processors write here, through their stack pointers.
pub static STACKS: Stacks = Stacks([const { CpuStacks::new() }; MAX_CPUS]);

/// Type of [`STACKS`].
#[repr(transparent)]
pub struct Stacks([CpuStacks; MAX_CPUS]);

#[allow(unsafe_code)] // a stack is no Rust value that could be shared
// SAFETY: only a stack pointer reaches the stacks' space, and each processor has its own.
unsafe impl Sync for Stacks {}

impl CpuStacks {
    const fn new() -> Self {
        Self {
            main: Stack::new(),
            interrupt: Stack::new(),
            fault: Stack::new(),
            double_fault: Stack::new(),
            nmi: Stack::new(),
            machine_check: Stack::new(),
        }
    }
}

impl Stacks {
    /// Returns the tops of the `index`th processor's interrupt stacks, in the order of [`Ist`].
    pub fn ist_tops(&self, index: usize) -> [u64; IST_STACKS] {
        let stacks = &self.0[index];
        [
            stacks.interrupt.top(),
            stacks.fault.top(),
            stacks.double_fault.top(),
            stacks.nmi.top(),
            stacks.machine_check.top(),
        ]
    }

    /// Returns the addresses of all guard pages.
    pub fn guards(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|stacks| {
            [
                stacks.main.guard(),
                stacks.interrupt.guard(),
                stacks.fault.guard(),
                stacks.double_fault.guard(),
                stacks.nmi.guard(),
                stacks.machine_check.guard(),
            ]
        })
    }

    /// Returns `true` if the `size` bytes at `address` lie in a stack and in no guard page.
    pub fn contains(&self, address: u64, size: u64) -> bool {
        let start = (&raw const self.0) as u64;
        let inside = address >= start && address <= start + size_of_val(self) as u64 - size;
        inside && self.guards().all(|guard| address >= guard + PAGE as u64 || address + size <= guard)
    }
}
