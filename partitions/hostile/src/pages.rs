//! Pages that are not a partition's own, in terms of a machine's: what a partition that takes them for its own would reach is
//! the hypervisor, a device, or another partition.

/// Bytes of a page.
pub const PAGE: u64 = 4 << 10;
const LARGE_PAGE: u64 = 2 << 20;
/// Below are all of a machine's memory, or most of it, and its devices' registers.
const LOW: u64 = 4 << 30;
/// Where the devices' 64-bit memory begins, and more than there is of it.
const DEVICES: u64 = 256 << 30;
const DEVICES_SIZE: u64 = 256 << 20;

/// Addresses end here: the processor's physical ones have 40 bits.
pub const END: u64 = 1 << 40;

/// Pages beyond the partition's `memory` bytes: each one that anything is at in the machine, above that one in each 2 MiB, and
/// the last one before each power of two.
pub fn strange_pages(memory: u64) -> impl Iterator<Item = u64> {
    let every = |step: u64, from: u64, to: u64| (from / step..to / step).map(move |nth| nth * step);
    let low = every(PAGE, memory, LOW).chain(every(LARGE_PAGE, LOW, DEVICES));
    let devices_end = DEVICES + DEVICES_SIZE;
    let high = every(PAGE, DEVICES, devices_end).chain(every(LARGE_PAGE, devices_end, END));
    let edges = (LOW.ilog2() + 1..=END.ilog2()).map(|bits| (1 << bits) - PAGE);
    low.chain(high).chain(edges)
}
