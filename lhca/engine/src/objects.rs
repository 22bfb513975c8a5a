//! Objects of a partition: queue pairs, completion queues and event queues.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;

use iba::{PortNum, Psn, QKey, Qpn};
use lhca_contract::{
    Completion, Event, MulticastGroup, QueueConfig, QueuePairChange, QueuePairConfig, QueuePairFields, QueuePairKind,
    QueuePairState, ReceiveEntry, SendEntry, Status,
};

use crate::flow::Flows;
use crate::guest::{Guest, Ring};
use crate::limits::P_KEYS;
use crate::ring::{Consumer, Producer};

/// A queue whose producer is the hypervisor.
#[derive(Debug)]
pub(crate) struct Queue<R> {
    pub(crate) ring: Producer<R>,
    /// Interrupt vector; 0 for none.
    pub(crate) vector: u8,
}

pub(crate) type CompletionQueue<G> = Queue<<G as Guest>::Ring<Completion>>;

/// The queue of asynchronous events.
#[derive(Debug)]
pub(crate) struct EventQueue<G: Guest> {
    pub(crate) queue: Queue<G::Ring<Event>>,
    /// `true` if events were lost since the last one in the queue.
    pub(crate) overrun: bool,
}

impl<R: Ring> Queue<R> {
    pub(crate) fn new<G: Guest<Ring<R::Entry> = R>>(guest: &G, config: &QueueConfig) -> Result<Self, Status> {
        if config.reserved != [0; 6] {
            return Err(Status::BAD_ARGUMENT);
        }
        check_vector(config.vector)?;
        Ok(Self { ring: Producer::new(guest, config.ring, config.log_entries)?, vector: config.vector })
    }

    /// Adds an entry by its words and publishes it; there must be room.
    pub(crate) fn push(&self, guest: &impl Guest, words: &[u64]) {
        self.ring.put(words);
        self.ring.publish();
        interrupt(guest, self.vector, || self.ring.wants_notification());
    }
}

/// Completion queues of a queue pair.
#[derive(Debug)]
pub(crate) struct Completions<G: Guest> {
    pub(crate) send: Arc<CompletionQueue<G>>,
    pub(crate) receive: Arc<CompletionQueue<G>>,
}

/// A queue pair.
#[derive(Debug)]
pub(crate) struct QueuePair<G: Guest> {
    pub(crate) guest: G,
    pub(crate) config: QueuePairConfig,
    pub(crate) completions: Completions<G>,
    pub(crate) send: Consumer<G::Ring<SendEntry>>,
    pub(crate) receive: Consumer<G::Ring<ReceiveEntry>>,
    pub(crate) state: QueuePairState,
    pub(crate) p_key_index: u16,
    pub(crate) q_key: QKey,
    /// PSN of the next packet in the lower 24 bits (9.7.2).
    psn: Cell<u32>,
    /// Multicast groups to which the queue pair is attached.
    pub(crate) groups: Vec<MulticastGroup>,
    /// Resolved destinations of its datagrams.
    pub(crate) flows: Flows,
}

impl<G: Guest> QueuePair<G> {
    pub(crate) fn new(guest: &G, config: QueuePairConfig, completions: Completions<G>) -> Result<Self, Status> {
        if config.reserved != [0; 3] || config.kind.name().is_none() {
            return Err(Status::BAD_ARGUMENT);
        }
        check_vector(config.vector)?;
        Ok(Self {
            guest: guest.clone(),
            send: Consumer::new(guest, config.send_ring, config.send_log_entries)?,
            receive: Consumer::new(guest, config.receive_ring, config.receive_log_entries)?,
            state: QueuePairState::RESET,
            p_key_index: 0,
            q_key: if config.kind == QueuePairKind::GSI { QKey::GSI } else { QKey::new(0) },
            psn: Cell::new(0),
            groups: Vec::new(),
            flows: Flows::default(),
            config,
            completions,
        })
    }

    /// Returns the port that the queue pair is bound to.
    pub(crate) fn port(&self) -> PortNum {
        PortNum::new(self.config.port)
    }

    /// Returns `true` if the queue pair receives in its present state (10.3.1).
    pub(crate) fn receives(&self) -> bool {
        matches!(self.state, QueuePairState::READY_TO_RECEIVE | QueuePairState::READY_TO_SEND)
    }

    /// Returns the queue pair's number in the subnet; its handle is `handle`.
    pub(crate) fn number(&self, handle: u32) -> Qpn {
        match self.config.kind {
            QueuePairKind::SMI => Qpn::SMI,
            QueuePairKind::GSI => Qpn::GSI,
            _ => Qpn::new(handle >> 16 << 8 | handle & 0xff),
        }
    }

    /// Applies `change` as a whole (10.3.1).
    ///
    /// # Errors
    /// A field or a transition that is not allowed; then nothing has changed.
    pub(crate) fn modify(&mut self, change: &QueuePairChange) -> Result<(), Status> {
        use QueuePairState as State;
        let fields = change.fields;
        let state = if fields.contains(QueuePairFields::STATE) { change.state } else { self.state };
        let keys = fields.intersects(QueuePairFields::P_KEY_INDEX | QueuePairFields::Q_KEY);
        let unknown = !QueuePairFields::all().contains(fields) || state.name().is_none();
        if unknown || keys && self.config.kind != QueuePairKind::UD {
            return Err(Status::BAD_ARGUMENT);
        }
        let new_p_key = fields.contains(QueuePairFields::P_KEY_INDEX);
        if new_p_key && change.p_key_index >= P_KEYS {
            return Err(Status::BAD_ARGUMENT);
        }
        let allowed = match (self.state, state) {
            (_, State::RESET | State::ERROR) => !keys,
            (State::RESET, State::INIT) => true,
            (State::INIT, State::INIT | State::READY_TO_RECEIVE)
            | (State::READY_TO_RECEIVE | State::READY_TO_SEND, State::READY_TO_SEND) => !new_p_key,
            _ => false,
        };
        if !allowed {
            return Err(Status::BAD_STATE);
        }
        if new_p_key {
            self.p_key_index = change.p_key_index;
        }
        if fields.contains(QueuePairFields::Q_KEY) {
            self.q_key = change.q_key;
        }
        if state == State::RESET {
            self.discard_requests();
        }
        self.flows = Flows::default();
        self.state = state;
        Ok(())
    }

    /// Consumes all requests without completions.
    fn discard_requests(&mut self) {
        self.send.consume_all();
        self.receive.consume_all();
        self.publish_sends();
        self.publish_receives();
    }

    /// Publishes the index of consumed send entries.
    #[inline(always)]
    pub(crate) fn publish_sends(&self) {
        self.send.publish();
        interrupt(&self.guest, self.config.vector, || self.send.wants_notification());
    }

    /// Publishes the index of consumed receive entries.
    #[inline(always)]
    pub(crate) fn publish_receives(&self) {
        self.receive.publish();
        interrupt(&self.guest, self.config.vector, || self.receive.wants_notification());
    }

    /// Advances the PSN by `packets`.
    #[inline]
    pub(crate) fn count_packets(&self, packets: u32) {
        self.psn.set(self.psn.get().wrapping_add(packets));
    }

    /// Returns the PSN of the next packet.
    pub(crate) fn psn(&self) -> Psn {
        Psn::new(self.psn.get())
    }
}

/// Returns the handle that the queue pair with this number above 1 has, whether it exists or not.
pub(crate) fn handle_of(number: Qpn) -> u32 {
    number.get() >> 8 << 16 | number.get() & 0xff
}

/// Interrupts a partition with `vector`, unless that is 0, if it `wants` a notification.
#[inline(always)]
pub(crate) fn interrupt(guest: &impl Guest, vector: u8, wants: impl FnOnce() -> bool) {
    if vector != 0 && wants() {
        guest.interrupt(vector);
    }
}

/// Refuses vectors of the processor's exceptions, 1 to 31.
fn check_vector(vector: u8) -> Result<(), Status> {
    if vector == 0 || vector >= 32 { Ok(()) } else { Err(Status::BAD_ARGUMENT) }
}
