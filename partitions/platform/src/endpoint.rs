//! A queue pair, and the buffers that are on their way with it.

use iba::{PortNum, QKey, Qpn};
use lhca_contract::{
    Completion, CompletionKind, CompletionStatus, QueuePairChange, QueuePairFields, QueuePairKind, QueuePairState,
    ReceiveEntry, SendEntry,
};
use lhca_driver::{CallError, CompletionQueue, Lhca, NewQueuePair, Platform, QueuePair};

use crate::{Buffer, GRH, Machine, reply};

/// The most buffers that can be on their way in one direction.
const MAX_BUFFERS: usize = 128;

/// A queue pair to be opened.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Purpose.
    pub kind: QueuePairKind,
    /// At which port.
    pub port: PortNum,
    /// The Q_Key that datagrams must have; the kinds for management have theirs.
    pub q_key: QKey,
    /// 2 to this power buffers can be on their way in each direction: at most 7.
    pub log_buffers: u8,
    /// Where all its completions come: it needs room for as many.
    pub completions: &'a CompletionQueue,
}

/// A queue pair that sends and receives, with the buffers that are on their way.
#[derive(Debug)]
pub struct Endpoint {
    pair: QueuePair,
    sent: Lent,
    posted: Lent,
}

/// Something that was received.
#[derive(Debug)]
pub struct Arrival {
    /// Index of its buffer.
    pub buffer: Buffer,
    /// Completion.
    pub completion: Completion,
}

/// Outcome of a buffer.
#[derive(Debug)]
pub enum Done {
    /// A datagram was received in it.
    Arrived(Arrival),
    /// Its receive request was flushed.
    Unfilled(Buffer),
    /// Its send request completed, well or not.
    Sent(Buffer, CompletionStatus),
}

impl Endpoint {
    /// Opens a queue pair, with memory of `machine`'s for its rings.
    ///
    /// # Errors
    /// The hypervisor refused.
    ///
    /// # Panics
    /// If there is too little memory.
    pub fn open<P: Platform>(machine: &mut Machine<P>, setup: &Setup<'_>) -> Result<Self, CallError> {
        let memory = &mut machine.memory;
        let new = NewQueuePair {
            kind: setup.kind,
            port: setup.port,
            send: memory.ring(setup.log_buffers),
            receive: memory.ring(setup.log_buffers),
            send_completions: setup.completions,
            receive_completions: setup.completions,
            vector: 0,
        };
        let mut pair = QueuePair::create(&machine.lhca, new)?;
        let q_key = if setup.kind == QueuePairKind::UD { QueuePairFields::Q_KEY } else { QueuePairFields::empty() };
        let states = [QueuePairState::INIT, QueuePairState::READY_TO_RECEIVE, QueuePairState::READY_TO_SEND];
        for (state, keys) in states.into_iter().zip([q_key, QueuePairFields::empty(), QueuePairFields::empty()]) {
            let fields = QueuePairFields::STATE | keys;
            pair.modify(&machine.lhca, &QueuePairChange { fields, state, q_key: setup.q_key, p_key_index: 0 })?;
        }
        let lent = || Lent::new(1 << setup.log_buffers);
        Ok(Self { pair, sent: lent(), posted: lent() })
    }

    /// The queue pair itself.
    #[must_use]
    pub fn pair(&self) -> &QueuePair {
        &self.pair
    }

    /// Its number in the subnet.
    #[must_use]
    pub fn number(&self) -> Qpn {
        self.pair.number()
    }

    /// Changes the queue pair's state or attributes.
    ///
    /// # Errors
    /// The hypervisor refused, and nothing was changed.
    pub fn modify<P: Platform>(&mut self, lhca: &Lhca<P>, change: &QueuePairChange) -> Result<(), CallError> {
        self.pair.modify(lhca, change)
    }

    /// Lets `buffer` be filled: with room for a global route header, and with what was received behind it.
    ///
    /// # Errors
    /// As many as there can be are posted already.
    pub fn post<P: Platform>(&mut self, machine: &Machine<P>, buffer: Buffer) -> Result<(), Buffer> {
        let mut entry = ReceiveEntry { segments: 1, ..ReceiveEntry::default() };
        entry.segment[0] = buffer.segment(machine.lhca.platform(), 0, buffer.len());
        entry.id = self.posted.lend(buffer)?;
        // There is room, because there is one in `posted`.
        let _ = self.pair.receive(&machine.lhca, &entry);
        Ok(())
    }

    /// Sends `length` bytes of `buffer`, from byte `start` on, to `address`.
    ///
    /// # Errors
    /// As many as there can be are on their way already.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub fn send<P: Platform>(
        &mut self,
        machine: &Machine<P>,
        buffer: Buffer,
        start: usize,
        length: usize,
        address: &SendEntry,
    ) -> Result<(), Buffer> {
        self.prepare(machine, buffer, start, length, address)?;
        self.commit(machine);
        Ok(())
    }

    /// Prepares what [`Self::send`] sends, for the next [`Self::commit`].
    ///
    /// # Errors
    /// As many as there can be are on their way already.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub fn prepare<P: Platform>(
        &mut self,
        machine: &Machine<P>,
        buffer: Buffer,
        start: usize,
        length: usize,
        address: &SendEntry,
    ) -> Result<(), Buffer> {
        let segment = buffer.segment(machine.lhca.platform(), start, length);
        let id = self.sent.lend(buffer)?;
        let _ = self.pair.prepare_send(&SendEntry { id, segments: 1, segment, ..*address });
        Ok(())
    }

    /// Sends what was prepared.
    #[inline]
    pub fn commit<P: Platform>(&mut self, machine: &Machine<P>) {
        self.pair.commit_sends(&machine.lhca);
    }

    /// Takes back the buffer that `completion` is of, if that was lent here.
    pub fn take(&mut self, completion: &Completion) -> Option<Done> {
        if completion.queue_pair != self.pair.handle() {
            return None;
        }
        let completion = *completion;
        match (completion.kind, completion.status) {
            (CompletionKind::SEND, status) => Some(Done::Sent(self.sent.take(completion.id)?, status)),
            (_, CompletionStatus::SUCCESS) => {
                let buffer = self.posted.take(completion.id)?;
                Some(Done::Arrived(Arrival { buffer, completion }))
            }
            _ => Some(Done::Unfilled(self.posted.take(completion.id)?)),
        }
    }

    /// Lets what is sent to `group` be received here.
    ///
    /// # Errors
    /// The hypervisor refused.
    pub fn attach<P: Platform>(&self, lhca: &Lhca<P>, group: &lhca_contract::MulticastGroup) -> Result<(), CallError> {
        self.pair.attach(lhca, group)
    }
}

impl Arrival {
    /// The length of what was received.
    #[must_use]
    pub fn length(&self) -> usize {
        (self.completion.length as usize).min(self.buffer.len()).saturating_sub(GRH)
    }

    /// A datagram that was received.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.buffer.get(GRH..GRH + self.length()).unwrap_or_default()
    }

    /// The address that leads back to its sender, whose Q_Key is `q_key`; see [`reply`].
    #[must_use]
    pub fn sender(&self, q_key: QKey) -> SendEntry {
        reply(&self.completion, self.buffer.first_chunk().unwrap_or(&[0; GRH]), q_key)
    }
}

/// Buffers that were lent to the hypervisor, by the number of the work request.
#[derive(Debug)]
struct Lent(heapless::Vec<Option<Buffer>, MAX_BUFFERS>);

impl Lent {
    fn new(count: usize) -> Self {
        Self(core::iter::repeat_with(|| None).take(count.min(MAX_BUFFERS)).collect())
    }

    fn lend(&mut self, buffer: Buffer) -> Result<u64, Buffer> {
        match self.0.iter().position(Option::is_none) {
            Some(place) => {
                self.0[place] = Some(buffer);
                Ok(place as u64)
            }
            None => Err(buffer),
        }
    }

    fn take(&mut self, id: u64) -> Option<Buffer> {
        self.0.get_mut(usize::try_from(id).ok()?)?.take()
    }
}
