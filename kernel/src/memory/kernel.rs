//! Memory of the kernel: free frames, and page tables in which no page is both writable and executable (W^X).
#![allow(unsafe_code)] // memory by address

use core::arch::asm;
use core::ptr::with_exposed_provenance;

use spin::Mutex;
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;

use super::frames::{Frames, NotAllocated};
use super::map::{Map, Range};
use super::paging::{MapError, PageTables, Rights, Table, TableMemory};
use super::{PAGE, heap};
use crate::cpu::stack::STACKS;

/// Low memory: the firmware's data, the PVH start info, and the page on which processors start.
const LOW: Range = Range { start: 0, end: 1 << 20 };
/// Mapped part of low memory; without page 0, so that a null pointer faults.
const LOW_MAPPED: Range = Range { start: PAGE, end: LOW.end };

const DATA: Rights = Rights::READ.union(Rights::WRITE).union(Rights::NO_EXECUTE);
const CONSTANTS: Rights = Rights::READ.union(Rights::NO_EXECUTE);
const TEXT: Rights = Rights::READ;

const HEAP_MIN: u64 = 4 << 20;
const HEAP_MAX: u64 = 64 << 20;

static FRAMES: Mutex<Frames> = Mutex::new(Frames::new());
static TABLES: Mutex<Option<PageTables>> = Mutex::new(None);

/// Caching of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Registers: each access reaches the device.
    Uncached,
    /// Memory of a device, without side effects.
    Cached,
}

unsafe extern "C" {
    static text_start: u8;
    static text_end: u8;
    static rodata_start: u8;
    static rodata_end: u8;
    static data_start: u8;
    static data_end: u8;
}

fn between(start: *const u8, end: *const u8) -> Range {
    Range { start: start as u64, end: end as u64 }
}

/// Sets up heap, frames and page tables from the map of free memory, and loads the page tables.
///
/// # Panics
/// The machine has too little memory.
pub fn init(mut map: Map) {
    let text = between(&raw const text_start, &raw const text_end);
    let rodata = between(&raw const rodata_start, &raw const rodata_end);
    let data = between(&raw const data_start, &raw const data_end);
    map.subtract(LOW);
    map.subtract(Range { start: text.start, end: data.end });
    let usable = map.clone();

    let heap_size = (map.len() / 8).clamp(HEAP_MIN, HEAP_MAX);
    let heap = map.take(heap_size, PAGE).expect("memory for the heap: give the machine at least 32 MiB");
    // SAFETY: the map lists free memory only, the kernel's image is not in it, and the heap's part was just taken out.
    unsafe { heap::claim(heap) };
    let mut frames = Frames::new();
    for range in map.ranges() {
        frames.free(*range).expect("the map's ranges do not overlap");
    }
    *FRAMES.lock() = frames;

    let mut tables = PageTables::new(&mut KernelTables).expect("memory for the first page table");
    let mut map_range = |range: Range, rights| {
        tables
            .map(&mut KernelTables, range.start, range.start, range.len(), rights)
            .expect("the kernel's own mappings fit");
    };
    for range in usable.ranges() {
        map_range(*range, DATA);
    }
    map_range(LOW_MAPPED, DATA);
    map_range(text, TEXT);
    map_range(rodata, CONSTANTS);
    let mut rest = data;
    for guard in STACKS.guards() {
        map_range(Range { start: rest.start, end: guard }, DATA);
        rest.start = guard + PAGE;
    }
    map_range(rest, DATA);

    // SAFETY: the tables map the kernel's image, stacks and heap where they are already.
    unsafe { Cr3::write(PhysFrame::containing_address(PhysAddr::new(tables.root())), Cr3Flags::empty()) };
    *TABLES.lock() = Some(tables);
    log::info!("memory: {} MiB, {} MiB of it heap", usable.len() >> 20, heap.len() >> 20);
}

/// Returns the address of the kernel's root page table; 0 before [`init`].
pub(crate) fn root() -> u64 {
    TABLES.lock().as_ref().map_or(0, PageTables::root)
}

/// Maps `size` bytes of a device at physical address `address`, to the same address.
///
/// # Errors
/// [`MapError::Occupied`] if part of the range is mapped already, or another [`MapError`].
pub fn map_device(address: u64, size: u64, caching: Caching) -> Result<(), MapError> {
    let rights = match caching {
        Caching::Uncached => DATA | Rights::UNCACHED,
        Caching::Cached => DATA,
    };
    let mut tables = TABLES.lock();
    let tables = tables.as_mut().ok_or(MapError::NoMemory)?;
    let start = address & !(PAGE - 1);
    let end = address
        .checked_add(size)
        .and_then(|end| end.checked_next_multiple_of(PAGE))
        .ok_or(MapError::Address(address))?;
    // A new mapping needs no flush: processors do not cache missing entries.
    tables.map(&mut KernelTables, start, start, end - start, rights)
}

/// Allocates `size` bytes of zeros, rounded up to pages, at a multiple of `align`. Returns `None` if no run fits.
#[must_use]
pub fn allocate(size: u64, align: u64) -> Option<Range> {
    let range = allocate_as_it_is(size, align)?;
    wipe(range);
    Some(range)
}

/// Allocates as [`allocate`] does, without scrubbing: the memory keeps its former contents.
pub(crate) fn allocate_as_it_is(size: u64, align: u64) -> Option<Range> {
    FRAMES.lock().allocate(size, align)
}

/// Memory that is scrubbed piece by piece, so that the event loop has its turn between two pieces.
#[derive(Debug)]
pub(crate) struct Wiping(Range);

impl Wiping {
    /// Size of a piece in bytes.
    const PIECE: u64 = 64 << 10;

    /// Creates the task for `range`: whole pages that the caller has allocated and does not use meanwhile.
    pub(crate) fn new(range: Range) -> Self {
        Self(range)
    }

    /// Scrubs the next piece. Returns `true` if more memory must be scrubbed.
    pub(crate) fn go_on(&mut self) -> bool {
        let Self(rest) = self;
        let piece = Range { start: rest.start, end: rest.end.min(rest.start + Self::PIECE) };
        wipe(piece);
        rest.start = piece.end;
        !rest.is_empty()
    }
}

/// Fills allocated memory, whole pages, with zeros.
fn wipe(range: Range) {
    // SAFETY: frames are mapped, and the caller has allocated these. The instruction is spelled out because QEMU's TCG
    // stores eight bytes at a time as fast as one.
    unsafe {
        asm!("rep stosq", inout("rdi") range.start => _, inout("rcx") range.len() / 8 => _, in("rax") 0_u64,
            options(nostack, preserves_flags));
    }
}

/// Frees memory.
///
/// # Errors
/// [`NotAllocated`] if [`allocate`] did not return it.
pub fn free(range: Range) -> Result<(), NotAllocated> {
    FRAMES.lock().free(range)
}

/// Returns the number of free bytes.
pub fn available() -> u64 {
    FRAMES.lock().available()
}

/// Memory of page tables: frames.
pub(crate) struct KernelTables;

impl TableMemory for KernelTables {
    fn allocate(&mut self) -> Option<u64> {
        allocate(PAGE, PAGE).map(|range| range.start)
    }

    fn free(&mut self, address: u64) {
        if let Err(error) = free(Range { start: address, end: address + PAGE }) {
            log::error!("{error}");
        }
    }

    fn table(&self, address: u64) -> &Table {
        // SAFETY: the tree passes only addresses that `allocate` returned: frames that hold a table of atomics as long
        // as the tree exists.
        unsafe { &*with_exposed_provenance::<Table>(address as usize) }
    }
}
