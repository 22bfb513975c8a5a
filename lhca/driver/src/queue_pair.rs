//! Queue pairs.

use iba::{PortNum, Qpn};
use lhca_contract::{
    Call, Handle, MulticastGroup, QueuePairAttributes, QueuePairChange, QueuePairConfig, QueuePairKind, ReceiveEntry,
    SendEntry,
};
use zerocopy::FromZeros;

use crate::error::{CallError, Full};
use crate::lhca::Lhca;
use crate::memory::RingMemory;
use crate::platform::Platform;
use crate::queue::CompletionQueue;
use crate::ring::Producer;

/// A queue pair: the port's aliased queue pair 0 or 1, or one for datagrams.
#[derive(Debug)]
pub struct QueuePair {
    handle: Handle,
    number: Qpn,
    send: Producer<SendEntry>,
    receive: Producer<ReceiveEntry>,
}

/// A queue pair to be.
#[derive(Debug)]
pub struct NewQueuePair<'a> {
    /// Kind.
    pub kind: QueuePairKind,
    /// At which port.
    pub port: PortNum,
    /// Its send ring.
    pub send: RingMemory<SendEntry>,
    /// Its receive ring.
    pub receive: RingMemory<ReceiveEntry>,
    /// Where completions of sends come.
    pub send_completions: &'a CompletionQueue,
    /// Where completions of receives come.
    pub receive_completions: &'a CompletionQueue,
    /// Its interrupt, which tells of room that was asked for; 0 for none.
    pub vector: u8,
}

impl QueuePair {
    /// Creates a queue pair, in state Reset.
    ///
    /// # Errors
    /// The hypervisor refused. The memory is gone then, because it may have been given away already.
    pub fn create<P: Platform>(lhca: &Lhca<P>, new: NewQueuePair<'_>) -> Result<Self, CallError> {
        let config = QueuePairConfig {
            send_ring: lhca.ring_address(new.send.start()),
            receive_ring: lhca.ring_address(new.receive.start()),
            send_completions: new.send_completions.handle(),
            receive_completions: new.receive_completions.handle(),
            kind: new.kind,
            port: new.port.get(),
            send_log_entries: new.send.log_entries(),
            receive_log_entries: new.receive.log_entries(),
            vector: new.vector,
            reserved: [0; 3],
        };
        let value = lhca.call(Call::CREATE_QUEUE_PAIR, [lhca.address(&config), 0, 0])?;
        Ok(Self {
            handle: Handle((value & 0xffff_ffff) as u32),
            number: Qpn::new((value >> 32) as u32),
            send: Producer::new(new.send),
            receive: Producer::new(new.receive),
        })
    }

    /// By which name the hypervisor knows it, and completions of it tell.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Its number in the subnet.
    #[must_use]
    pub fn number(&self) -> Qpn {
        self.number
    }

    /// Posts a send request; exactly one completion will come of it.
    ///
    /// # Errors
    /// The queue is full.
    pub fn send<P: Platform>(&mut self, lhca: &Lhca<P>, entry: &SendEntry) -> Result<(), Full> {
        self.prepare_send(entry)?;
        self.commit_sends(lhca);
        Ok(())
    }

    /// Writes a send request down, and posts it with the next [`Self::commit_sends`]: many go with one bell.
    ///
    /// # Errors
    /// The queue is full.
    pub fn prepare_send(&mut self, entry: &SendEntry) -> Result<(), Full> {
        self.send.put(entry)
    }

    /// Posts what was prepared.
    #[inline]
    pub fn commit_sends<P: Platform>(&mut self, lhca: &Lhca<P>) {
        let told = self.send.publish();
        lhca.tell(told, self.handle);
    }

    /// Posts a receive request; exactly one completion will come of it.
    ///
    /// # Errors
    /// The queue is full.
    pub fn receive<P: Platform>(&mut self, lhca: &Lhca<P>, entry: &ReceiveEntry) -> Result<(), Full> {
        self.receive.put(entry)?;
        let told = self.receive.publish();
        lhca.tell(told, self.handle);
        Ok(())
    }

    /// Send requests that there is room for.
    pub fn send_room(&mut self) -> u32 {
        self.send.room()
    }

    /// Receive requests that there is room for.
    pub fn receive_room(&mut self) -> u32 {
        self.receive.room()
    }

    /// Asks for the interrupt when the next send request is consumed; says whether there is room already.
    pub fn arm_send_room(&mut self) -> bool {
        self.send.arm()
    }

    /// Changes its state or attributes.
    ///
    /// # Errors
    /// The hypervisor refused, and nothing was changed.
    pub fn modify<P: Platform>(&mut self, lhca: &Lhca<P>, change: &QueuePairChange) -> Result<(), CallError> {
        lhca.call(Call::MODIFY_QUEUE_PAIR, [self.handle.0.into(), lhca.address(change), 0]).map(|_| ())
    }

    /// Returns its attributes.
    ///
    /// # Errors
    /// The hypervisor refused.
    pub fn attributes<P: Platform>(&self, lhca: &Lhca<P>) -> Result<QueuePairAttributes, CallError> {
        let mut attributes = QueuePairAttributes::new_zeroed();
        let address = lhca.address_mut(&mut attributes);
        lhca.call(Call::QUERY_QUEUE_PAIR, [self.handle.0.into(), address, 0])?;
        Ok(attributes)
    }

    /// Lets what is sent to a multicast group be received here.
    ///
    /// # Errors
    /// The hypervisor refused.
    pub fn attach<P: Platform>(&self, lhca: &Lhca<P>, group: &MulticastGroup) -> Result<(), CallError> {
        lhca.call(Call::ATTACH_MULTICAST, [self.handle.0.into(), lhca.address(group), 0]).map(|_| ())
    }

    /// Undoes [`QueuePair::attach`].
    ///
    /// # Errors
    /// The hypervisor refused.
    pub fn detach<P: Platform>(&self, lhca: &Lhca<P>, group: &MulticastGroup) -> Result<(), CallError> {
        lhca.call(Call::DETACH_MULTICAST, [self.handle.0.into(), lhca.address(group), 0]).map(|_| ())
    }

    /// Destroys it; what is posted is gone.
    ///
    /// # Errors
    /// The hypervisor refused, and the queue pair lives on, without an owner.
    pub fn destroy<P: Platform>(self, lhca: &Lhca<P>) -> Result<(), CallError> {
        lhca.call(Call::DESTROY_QUEUE_PAIR, [self.handle.0.into(), 0, 0]).map(|_| ())
    }
}
