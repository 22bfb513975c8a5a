//! The stacks of the processors. Below each lies a guard page that is not mapped, so that an overflow faults at once.

use core::cell::UnsafeCell;

use super::MAX_CPUS;

const PAGE: usize = 4096;

/// A stack of `SIZE` bytes, above its guard page.
#[repr(C, align(4096))]
pub struct Stack<const SIZE: usize> {
    guard: [u8; PAGE],
    space: UnsafeCell<[u8; SIZE]>,
}

impl<const SIZE: usize> Stack<SIZE> {
    const fn new() -> Self {
        Self { guard: [0; PAGE], space: UnsafeCell::new([0; SIZE]) }
    }

    /// The address from which the stack grows down.
    fn top(&self) -> u64 {
        self.guard() + (PAGE + SIZE) as u64
    }

    /// The address of the guard page.
    fn guard(&self) -> u64 {
        (&raw const self.guard) as u64
    }
}

/// One processor's stacks: its own, and those of the interrupt stack table (IST), one for each kind of event that can
/// strike while another of them is in use.
#[repr(C)]
pub struct CpuStacks {
    main: Stack<{ 64 << 10 }>,
    interrupt: Stack<{ 16 << 10 }>,
    fault: Stack<{ 16 << 10 }>,
    double_fault: Stack<{ 16 << 10 }>,
    nmi: Stack<{ 16 << 10 }>,
    machine_check: Stack<{ 16 << 10 }>,
}

/// Which stack of the interrupt stack table an event runs on; the value is the entry's index, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ist {
    /// Device, timer and inter-processor interrupts.
    Interrupt = 0,
    /// Exceptions that have no stack of their own.
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

/// From a processor's stacks to the top of its main stack.
pub const MAIN_TOP: usize = PAGE + (64 << 10);

/// From one processor's stacks to the next one's.
pub const STRIDE: usize = size_of::<CpuStacks>();

/// All stacks. Nothing but the processors themselves, through their stack pointers, writes here.
pub static STACKS: Stacks = Stacks([const { CpuStacks::new() }; MAX_CPUS]);

/// See [`STACKS`].
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
    /// The tops of the `index`th processor's interrupt stacks, in the order of [`Ist`].
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

    /// The addresses of all guard pages.
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

    /// Whether `address` lies in a stack, guard pages not counted, with room for `size` more bytes.
    pub fn contains(&self, address: u64, size: u64) -> bool {
        let start = (&raw const self.0) as u64;
        let inside = address >= start && address <= start + size_of_val(self) as u64 - size;
        inside && self.guards().all(|guard| address >= guard + PAGE as u64 || address + size <= guard)
    }
}
