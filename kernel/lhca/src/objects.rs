//! What a partition creates.

use alloc::vec::Vec;

use iba::{PortNum, Psn, QKey, Qpn};
use lhca_contract::{
    Completion, Event, MulticastGroup, QueueConfig, QueuePairChange, QueuePairConfig, QueuePairFields, QueuePairKind,
    QueuePairState, ReceiveEntry, SendEntry, Status,
};

use crate::direct::Flows;
use crate::guest::Guest;
use crate::ring::Ring;

/// A queue that the hypervisor fills.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    pub(crate) ring: Ring<E>,
    vector: u8,
}

pub(crate) type CompletionQueue = Queue<Completion>;

/// Where events come.
#[derive(Debug)]
pub(crate) struct EventQueue {
    pub(crate) queue: Queue<Event>,
    /// Events were lost since the last one that is in the queue.
    pub(crate) overrun: bool,
}

impl<E: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable> Queue<E> {
    pub(crate) fn new(guest: &impl Guest, config: &QueueConfig) -> Result<Self, Status> {
        if config.reserved != [0; 6] {
            return Err(Status::BAD_ARGUMENT);
        }
        check_vector(config.vector)?;
        Ok(Self { ring: Ring::new(guest, config.ring, config.log_entries)?, vector: config.vector })
    }

    /// Adds an entry, which there is room for.
    #[inline(always)]
    pub(crate) fn push(&mut self, guest: &impl Guest, entry: &E) {
        if self.ring.produce(guest, entry) {
            interrupt(guest, self.vector);
        }
    }
}

/// A queue pair.
#[derive(Debug)]
pub(crate) struct QueuePair {
    pub(crate) config: QueuePairConfig,
    pub(crate) send: Ring<SendEntry>,
    pub(crate) receive: Ring<ReceiveEntry>,
    pub(crate) state: QueuePairState,
    pub(crate) p_key_index: u16,
    pub(crate) q_key: QKey,
    /// Number of the next packet (9.7.2).
    pub(crate) psn: Psn,
    /// The groups that it is attached to.
    pub(crate) groups: Vec<MulticastGroup>,
    /// Where its datagrams go, as far as that is remembered.
    pub(crate) flows: Flows,
}

/// P_Keys that a port's table has.
pub(crate) const P_KEYS: u16 = 32;

impl QueuePair {
    pub(crate) fn new(guest: &impl Guest, config: QueuePairConfig) -> Result<Self, Status> {
        if config.reserved != [0; 3] || config.kind.name().is_none() {
            return Err(Status::BAD_ARGUMENT);
        }
        check_vector(config.vector)?;
        Ok(Self {
            send: Ring::new(guest, config.send_ring, config.send_log_entries)?,
            receive: Ring::new(guest, config.receive_ring, config.receive_log_entries)?,
            state: QueuePairState::RESET,
            p_key_index: 0,
            q_key: if config.kind == QueuePairKind::GSI { QKey::GSI } else { QKey::new(0) },
            psn: Psn::new(0),
            groups: Vec::new(),
            flows: Flows::default(),
            config,
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
    pub(crate) fn modify(&mut self, guest: &impl Guest, change: &QueuePairChange) -> Result<(), Status> {
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
            self.forget(guest);
        }
        self.state = state;
        Ok(())
    }

    /// Consumes all that is posted, without completions.
    fn forget(&mut self, guest: &impl Guest) {
        self.flows = Flows::default();
        if self.send.consume_all(guest) | self.receive.consume_all(guest) {
            interrupt(guest, self.config.vector);
        }
    }

    /// Consumes a send entry.
    #[inline(always)]
    pub(crate) fn consume_send(&mut self, guest: &impl Guest) {
        if self.send.consume(guest) {
            interrupt(guest, self.config.vector);
        }
    }

    /// A packet was sent.
    #[inline]
    pub(crate) fn count_packet(&mut self) {
        self.psn = Psn::new(self.psn.get().wrapping_add(1));
    }

    /// Consumes a receive entry.
    #[inline(always)]
    pub(crate) fn consume_receive(&mut self, guest: &impl Guest) {
        if self.receive.consume(guest) {
            interrupt(guest, self.config.vector);
        }
    }
}

/// The name of the queue pair with a number above 1, whether there is one or not.
pub(crate) fn name_of(number: Qpn) -> u32 {
    number.get() >> 8 << 16 | number.get() & 0xff
}

fn interrupt(guest: &impl Guest, vector: u8) {
    if vector != 0 {
        guest.interrupt(vector);
    }
}

/// The vectors below are the processor's exceptions.
fn check_vector(vector: u8) -> Result<(), Status> {
    if vector == 0 || vector >= 32 { Ok(()) } else { Err(Status::BAD_ARGUMENT) }
}
