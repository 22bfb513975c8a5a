//! One LHCA: what its partition created, and what it may do.

use alloc::sync::Arc;

use iba::PortNum;
use lhca_contract::{Completion, Handle, QueuePairKind};

use crate::guest::Guest;
use crate::objects::{CompletionQueue, EventQueue, QueuePair};
use crate::pace::Pace;
use crate::policy::Gate;
use crate::segments::Regions;
use crate::slots::{Generation, Slots};
use partition_table::Policy;

/// Ports at most.
pub(crate) const PORTS: usize = 2;

/// Queue pairs 0 and 1 of each port.
const MANAGEMENT_PAIRS: u8 = 4;

/// As many as there can be, those for management not counted.
pub(crate) const MAX_QUEUE_PAIRS: u8 = 64;
pub(crate) const MAX_COMPLETION_QUEUES: u8 = 64;
pub(crate) const MAX_REGIONS: u8 = 64;
pub(crate) const MAX_GROUPS: u8 = 16;

/// What came to nothing at an LHCA, by reason. They saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Management packets that the policy did not let out.
    pub refused: u64,
    /// Datagrams for a queue pair that is not there, or does not receive.
    pub no_queue_pair: u64,
    /// Datagrams for which no receive was posted, or no completion had room.
    pub no_room: u64,
    /// Datagrams with a P_Key or Q_Key that is not the queue pair's.
    pub bad_key: u64,
}

/// What partitions created and did not destroy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// LHCAs that have a partition.
    pub lhcas: usize,
    /// Queue pairs, those for management included.
    pub queue_pairs: usize,
    /// Completion queues.
    pub completion_queues: usize,
    /// Event queues.
    pub event_queues: usize,
    /// Memory regions.
    pub memory_regions: usize,
    /// Attachments of queue pairs to multicast groups.
    pub attachments: usize,
}

impl Held {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            lhcas: self.lhcas + other.lhcas,
            queue_pairs: self.queue_pairs + other.queue_pairs,
            completion_queues: self.completion_queues + other.completion_queues,
            event_queues: self.event_queues + other.event_queues,
            memory_regions: self.memory_regions + other.memory_regions,
            attachments: self.attachments + other.attachments,
        }
    }
}

/// An LHCA.
#[derive(Debug)]
pub(crate) struct Lhca<G: Guest> {
    pub(crate) guest: G,
    pub(crate) gate: Gate,
    pub(crate) pairs: Slots<QueuePair<G>>,
    pub(crate) completion_queues: Slots<Arc<CompletionQueue<G>>>,
    pub(crate) event_queues: Slots<EventQueue<G>>,
    pub(crate) regions: Regions,
    /// Queue pairs 0 and 1 of each port.
    aliases: [[Option<u32>; 2]; PORTS],
    pub(crate) counts: Counts,
    /// It waits for its turn to be served.
    pub(crate) busy: bool,
    pub(crate) pace: Pace,
    /// Counts what changed of its queue pairs: what others know of them is good until then.
    pub(crate) changes: u64,
}

impl<G: Guest> Lhca<G> {
    /// An LHCA that has nothing yet. `first` is the generation of its first queue pairs.
    pub(crate) fn new(guest: G, policy: Policy, first: Generation) -> Self {
        Self {
            guest,
            gate: Gate::new(policy),
            pairs: Slots::new(0, MAX_QUEUE_PAIRS + MANAGEMENT_PAIRS, first),
            completion_queues: Slots::new(1, MAX_COMPLETION_QUEUES, Generation::FIRST),
            event_queues: Slots::new(2, 1, Generation::FIRST),
            regions: Slots::new(0, MAX_REGIONS, Generation::FIRST),
            aliases: Default::default(),
            counts: Counts::default(),
            busy: false,
            pace: Pace::default(),
            changes: 0,
        }
    }

    pub(crate) fn held(&self) -> Held {
        Held {
            lhcas: 1,
            queue_pairs: self.pairs.values().count(),
            completion_queues: self.completion_queues.values().count(),
            event_queues: self.event_queues.values().count(),
            memory_regions: self.regions.values().count(),
            attachments: self.pairs.values().map(|pair| pair.groups.len()).sum(),
        }
    }

    /// The name of the queue pair 0 or 1 of a port.
    pub(crate) fn alias(&mut self, port: PortNum, kind: QueuePairKind) -> Option<&mut Option<u32>> {
        let of_port = self.aliases.get_mut(usize::from(port.get()).checked_sub(1)?)?;
        of_port.get_mut(usize::from(kind.0))
    }

    /// Whether `queue` has room for a completion; if not, the partition rings when it has.
    pub(crate) fn has_room(&self, queue: Handle) -> bool {
        let Some(queue) = self.completion_queues.get(queue.0) else { return false };
        queue.ring.has_room() || queue.ring.arm()
    }

    /// Tells of a work request; there is room.
    pub(crate) fn complete(&mut self, queue: Handle, completion: &Completion) {
        if let Some(queue) = self.completion_queues.get_mut(queue.0) {
            let words: [u64; size_of::<Completion>() / 8] = zerocopy::transmute!(*completion);
            queue.push(&self.guest, &words);
        }
    }
}

/// Counts one more.
pub(crate) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
