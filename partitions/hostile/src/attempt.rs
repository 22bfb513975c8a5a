//! Attacks.

/// Something that a partition must not get away with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Fill the free memory with a pattern, refuse senders without the Q_Key, and sleep: this partition is no
    /// attacker, but its memory is never to change.
    Guard,
    /// Every hypercall with every boundary argument.
    Calls,
    /// Random hypercalls.
    Random,
    /// Read and write every page beyond the partition's own memory, and have the hypervisor do it.
    Memory,
    /// Have the hypervisor look for what its calls take, for rings, and for what is sent and received, where others
    /// are.
    Places,
    /// Handles that are others', of another kind, of another use, or none.
    Handles,
    /// Datagrams with another's keys, and to and from addresses that are not ours.
    Keys,
    /// Entries that change while they are read.
    Rings,
    /// Requests that change while the hypervisor looks for them by itself, to a [`Self::Target`].
    Race,
    /// Be sent to, with memory beside the buffers that is not to change, and with a key that is at times another: who
    /// does this is no attacker.
    Target,
    /// Indices that jump.
    Indices,
    /// Queues that are created once more, destroyed and changed while they are in use.
    Live,
    /// Doorbells without end.
    Doorbells,
    /// Requests without end, which the hypervisor looks for by itself.
    Requests,
    /// Traps without end.
    Traps,
    /// Subnet management packets without end.
    Smps,
    /// A triple fault, with queue pairs open.
    TripleFault,
    /// A loop without end, with interrupts off.
    Spin,
    /// The task priority, by which a partition could hold off interrupts, raised and lowered while one waits.
    Cr8,
}

impl Attempt {
    /// All, by the names that an image's arguments have for them.
    pub const ALL: [(&str, Self); 19] = [
        ("guard", Self::Guard),
        ("calls", Self::Calls),
        ("random", Self::Random),
        ("memory", Self::Memory),
        ("places", Self::Places),
        ("handles", Self::Handles),
        ("keys", Self::Keys),
        ("rings", Self::Rings),
        ("race", Self::Race),
        ("target", Self::Target),
        ("indices", Self::Indices),
        ("live", Self::Live),
        ("doorbells", Self::Doorbells),
        ("requests", Self::Requests),
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
