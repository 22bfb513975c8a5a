//! Numbers of objects that an LHCA has at most.

/// Ports.
pub(crate) const PORTS: usize = 2;
/// Queue pairs 0 and 1 of all ports.
pub(crate) const MANAGEMENT_PAIRS: u8 = 4;
/// Queue pairs, those for management excluded.
pub(crate) const MAX_QUEUE_PAIRS: u8 = 64;
/// Completion queues.
pub(crate) const MAX_COMPLETION_QUEUES: u8 = 64;
/// Memory regions.
pub(crate) const MAX_REGIONS: u8 = 64;
/// Multicast groups of a queue pair.
pub(crate) const MAX_GROUPS: u8 = 16;
/// P_Keys of a port's table.
pub(crate) const P_KEYS: u16 = 32;
