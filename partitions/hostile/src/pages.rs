//! Pages that are not a partition's own, in terms of a machine's: what a partition that takes them for its own would
//! reach is the hypervisor, a device, or another partition.

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

/// The memory of the whole machine in which attempts are made is no larger.
const MACHINE: u64 = 256 << 20;

/// Places for `size` bytes, all of them multiples of `align`, that are not all in a partition's `memory` bytes: over
/// its end, above it, before it as numbers below 0 are, where devices are, and where a sum with `size` is past the last
/// number.
pub fn foreign_places(memory: u64, size: u64, align: u64) -> impl Iterator<Item = u64> {
    let over_end = [(memory - size.min(memory)) / align * align + align, memory - align];
    let over_end = over_end.into_iter().filter(move |&place| place < memory && place + size > memory);
    let devices = [0xb000_0000, 0xc000_0000, 0xc080_0000, 0xfec0_0000, 0xfed0_0000, 0xfee0_0000, LOW - PAGE, DEVICES];
    let above = [0, align, PAGE, LARGE_PAGE].map(|more| memory + more);
    let powers = (LOW.ilog2()..u64::BITS).map(|bits| 1 << bits);
    let before = (1..=MACHINE / LARGE_PAGE).map(|pages| (pages * LARGE_PAGE).wrapping_neg());
    let last = [align, size.next_multiple_of(align), PAGE].map(u64::wrapping_neg);
    over_end.chain(above).chain(devices).chain(powers).chain(before).chain(last)
}

/// A page in each 2 MiB below 4 GiB that is beyond the partition's `memory` bytes.
pub fn large_pages(memory: u64) -> impl Iterator<Item = u64> {
    (memory.div_ceil(LARGE_PAGE)..LOW / LARGE_PAGE).map(|nth| nth * LARGE_PAGE)
}

/// Pages beyond the partition's `memory` bytes: each one that anything is at in the machine, above that one in each 2
/// MiB, and the last one before each power of two.
pub fn strange_pages(memory: u64) -> impl Iterator<Item = u64> {
    let every = |step: u64, from: u64, to: u64| (from / step..to / step).map(move |nth| nth * step);
    let low = every(PAGE, memory, LOW).chain(every(LARGE_PAGE, LOW, DEVICES));
    let devices_end = DEVICES + DEVICES_SIZE;
    let high = every(PAGE, DEVICES, devices_end).chain(every(LARGE_PAGE, devices_end, END));
    let edges = (LOW.ilog2() + 1..=END.ilog2()).map(|bits| (1 << bits) - PAGE);
    low.chain(high).chain(edges)
}
