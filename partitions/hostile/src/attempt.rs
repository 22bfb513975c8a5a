//! What can be tried.

/// Something that a partition must not get away with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Fill the free memory with a pattern, let nobody send who does not know the Q_Key, and sleep: who does this is no
    /// attacker, but its memory is never to change.
    Guard,
    /// Every hypercall with every boundary argument.
    Calls,
    /// Random hypercalls.
    Random,
    /// Read, or write, memory beyond the partition's own: which address, the number of the partition's starts says.
    Memory,
    /// Datagrams with another's keys, and to and from addresses that are not ours.
    Keys,
    /// Entries that change while they are read.
    Rings,
    /// Indices that jump.
    Indices,
    /// Queues that are created once more, destroyed and changed while they are in use.
    Live,
    /// Doorbells without end.
    Doorbells,
    /// Traps without end.
    Traps,
    /// Subnet management packets without end.
    Smps,
    /// A triple fault.
    TripleFault,
    /// A loop without end, with interrupts off.
    Spin,
    /// The task priority, by which a partition could hold off interrupts, raised and lowered while one waits.
    Cr8,
}

impl Attempt {
    /// All, by the names that an image's arguments have for them.
    pub const ALL: [(&str, Self); 14] = [
        ("guard", Self::Guard),
        ("calls", Self::Calls),
        ("random", Self::Random),
        ("memory", Self::Memory),
        ("keys", Self::Keys),
        ("rings", Self::Rings),
        ("indices", Self::Indices),
        ("live", Self::Live),
        ("doorbells", Self::Doorbells),
        ("traps", Self::Traps),
        ("smps", Self::Smps),
        ("triple-fault", Self::TripleFault),
        ("spin", Self::Spin),
        ("cr8", Self::Cr8),
    ];

    /// The attempt with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|&&(known, _)| known == name).map(|&(_, attempt)| attempt)
    }
}

/// Addresses of no partition's memory, in terms of a machine's own: what a partition that takes them for its own would reach
/// is the hypervisor, a device, or another partition. Those below 4 GiB are no more than the partition's memory away.
pub const STRANGE_ADDRESSES: [u64; 20] = [
    0x0020_0000,
    0x0020_0ff8,
    0x0020_1000,
    0x003f_f000,
    0x0040_0000,
    0x0100_0000,
    0x0400_0000,
    0x0fff_f000,
    0x1000_0000,
    0x3fff_fff8,
    0x4000_0000,
    0x8000_0000,
    0xb000_0000, // PCI configuration space
    0xfec0_0000, // I/O APIC
    0xfed0_0000, // HPET
    0xfee0_0000, // local APIC
    0xffff_fff8, // reset vector
    0x1_0000_0000,
    0x40_0000_0000, // 64-bit BARs
    0x7f_ffff_f000, // the end of what one page table entry of the highest level maps
];
