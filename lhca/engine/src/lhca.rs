//! One LHCA: the objects of its partition and its policy.

use alloc::sync::Arc;

use iba::PortNum;
use lhca_contract::{Completion, Handle, QueuePairKind};

use crate::adaptive_polling::AdaptivePolling;
use crate::guest::Guest;
use crate::limits::{MANAGEMENT_PAIRS, MAX_COMPLETION_QUEUES, MAX_QUEUE_PAIRS, MAX_REGIONS, PORTS};
use crate::objects::{CompletionQueue, EventQueue, QueuePair};

use crate::policy::Gate;
use crate::segments::Regions;
use crate::slots::{Generation, Slots};
use partition_table::Policy;

/// Number of packets that an LHCA dropped, by reason. The counts saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Subnet management packets that the policy refused.
    pub refused: u64,
    /// Datagrams for a queue pair that does not exist or does not receive.
    pub no_queue_pair: u64,
    /// Datagrams without a posted receive request, or without room for its completion.
    pub no_room: u64,
    /// Datagrams whose P_Key or Q_Key differs from the queue pair's.
    pub bad_key: u64,
}

/// Number of objects that partitions have created and not destroyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectCounts {
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

impl ObjectCounts {
    /// Adds two counts.
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
    pub(crate) drops: Drops,
    /// `true` while the LHCA waits for its turn to be served.
    pub(crate) is_pending: bool,
    pub(crate) polling: AdaptivePolling,
    /// Number of changes of its queue pairs. A flow to one of them is valid as long as this is the same.
    pub(crate) changes: u64,
}

impl<G: Guest> Lhca<G> {
    /// Creates an LHCA without objects. `first` is the generation of its first queue pairs.
    pub(crate) fn new(guest: G, policy: Policy, first: Generation) -> Self {
        Self {
            guest,
            gate: Gate::new(policy),
            pairs: Slots::new(0, MAX_QUEUE_PAIRS + MANAGEMENT_PAIRS, first),
            completion_queues: Slots::new(1, MAX_COMPLETION_QUEUES, Generation::FIRST),
            event_queues: Slots::new(2, 1, Generation::FIRST),
            regions: Slots::new(0, MAX_REGIONS, Generation::FIRST),
            aliases: Default::default(),
            drops: Drops::default(),
            is_pending: false,
            polling: AdaptivePolling::default(),
            changes: 0,
        }
    }

    /// Counts the objects.
    pub(crate) fn objects(&self) -> ObjectCounts {
        ObjectCounts {
            lhcas: 1,
            queue_pairs: self.pairs.values().count(),
            completion_queues: self.completion_queues.values().count(),
            event_queues: self.event_queues.values().count(),
            memory_regions: self.regions.values().count(),
            attachments: self.pairs.values().map(|pair| pair.groups.len()).sum(),
        }
    }

    /// Returns the handle of the queue pair 0 or 1 of a port.
    pub(crate) fn alias(&mut self, port: PortNum, kind: QueuePairKind) -> Option<&mut Option<u32>> {
        let of_port = self.aliases.get_mut(usize::from(port.get()).checked_sub(1)?)?;
        of_port.get_mut(usize::from(kind.0))
    }

    /// Returns `true` if `queue` has room for a completion. If not, the partition notifies when it makes room.
    pub(crate) fn has_room(&self, queue: Handle) -> bool {
        let Some(queue) = self.completion_queues.get(queue.0) else { return false };
        queue.ring.has_room() || queue.ring.arm()
    }

    /// Adds a completion to `queue`, which must have room.
    pub(crate) fn complete(&mut self, queue: Handle, completion: &Completion) {
        if let Some(queue) = self.completion_queues.get_mut(queue.0) {
            let words: [u64; size_of::<Completion>() / 8] = zerocopy::transmute!(*completion);
            queue.push(&self.guest, &words);
        }
    }
}

/// Increments a counter, which saturates.
pub(crate) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
