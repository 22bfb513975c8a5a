//! What a partition creates.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;

use iba::{PortNum, Psn, QKey, Qpn};
use lhca_contract::{
    Completion, Event, MulticastGroup, QueueConfig, QueuePairChange, QueuePairConfig, QueuePairFields, QueuePairKind,
    QueuePairState, ReceiveEntry, SendEntry, Status,
};

use crate::direct::Flows;
use crate::guest::{Guest, Ring};
use crate::ring::{Consumer, Producer};

/// A queue that the hypervisor fills.
#[derive(Debug)]
pub(crate) struct Queue<R> {
    pub(crate) ring: Producer<R>,
    /// Its interrupt; 0 for none.
    pub(crate) vector: u8,
}

pub(crate) type CompletionQueue<G> = Queue<<G as Guest>::Ring<Completion>>;

/// Where events come.
#[derive(Debug)]
pub(crate) struct EventQueue<G: Guest> {
    pub(crate) queue: Queue<G::Ring<Event>>,
    /// Events were lost since the last one that is in the queue.
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

    /// Adds an entry, which there is room for, by its words, and publishes it.
    pub(crate) fn push(&self, guest: &impl Guest, words: &[u64]) {
        self.ring.put(words);
        self.ring.publish();
        tell(guest, self.vector, || self.ring.asked());
    }
}

/// Where a queue pair's completions come.
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
    /// Number of the next packet (9.7.2), and bits above.
    psn: Cell<u32>,
    /// The groups that it is attached to.
    pub(crate) groups: Vec<MulticastGroup>,
    /// Where its datagrams go, as far as that is remembered.
    pub(crate) flows: Flows,
}

/// P_Keys that a port's table has.
pub(crate) const P_KEYS: u16 = 32;

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

    pub(crate) fn port(&self) -> PortNum {
        PortNum::new(self.config.port)
    }

    pub(crate) fn receives(&self) -> bool {
        matches!(self.state, QueuePairState::READY_TO_RECEIVE | QueuePairState::READY_TO_SEND)
    }

    /// Its number in the subnet, where its name is `name`.
    pub(crate) fn number(&self, name: u32) -> Qpn {
        match self.config.kind {
            QueuePairKind::SMI => Qpn::SMI,
            QueuePairKind::GSI => Qpn::GSI,
            _ => Qpn::new(name >> 16 << 8 | name & 0xff),
        }
    }

    /// Changes what `change` says, or nothing (10.3.1).
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
            self.forget();
        }
        self.flows = Flows::default();
        self.state = state;
        Ok(())
    }

    /// Consumes all that is posted, without completions.
    fn forget(&mut self) {
        self.send.consume_all();
        self.receive.consume_all();
        self.publish_sends();
        self.publish_receives();
    }

    /// Publishes which send entries were consumed.
    #[inline(always)]
    pub(crate) fn publish_sends(&self) {
        self.send.publish();
        tell(&self.guest, self.config.vector, || self.send.asked());
    }

    /// Publishes which receive entries were consumed.
    #[inline(always)]
    pub(crate) fn publish_receives(&self) {
        self.receive.publish();
        tell(&self.guest, self.config.vector, || self.receive.asked());
    }

    /// Packets were sent.
    #[inline]
    pub(crate) fn count_packets(&self, packets: u32) {
        self.psn.set(self.psn.get().wrapping_add(packets));
    }

    /// Number of the next packet.
    pub(crate) fn psn(&self) -> Psn {
        Psn::new(self.psn.get())
    }
}

/// The name of the queue pair with a number above 1, whether there is one or not.
pub(crate) fn name_of(number: Qpn) -> u32 {
    number.get() >> 8 << 16 | number.get() & 0xff
}

/// Interrupts a partition with `vector`, if that is one, and if it `asked` to be told.
#[inline(always)]
pub(crate) fn tell(guest: &impl Guest, vector: u8, asked: impl FnOnce() -> bool) {
    if vector != 0 && asked() {
        guest.interrupt(vector);
    }
}

/// The vectors below are the processor's exceptions.
fn check_vector(vector: u8) -> Result<(), Status> {
    if vector == 0 || vector >= 32 { Ok(()) } else { Err(Status::BAD_ARGUMENT) }
}
