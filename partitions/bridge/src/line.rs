//! One of the two ways between the HCA and the LHCA: an aliased queue pair and the HCA's queue for the same.

use bridge_image::{Home, MAX_PACKET, Outbound, packet};
use hca_driver::{Doorbell, Hca, Port, Queue};
use iba::mad::Mad;
use iba::{Lid, PKey, PortNum, QKey};
use lhca_contract::{QueuePairKind, SendEntry};
use lhca_driver::{CallError, CompletionQueue};
use platform::{Arrival, Buffer, Done, Endpoint, GRH, Setup, VECTOR};
use zerocopy::IntoBytes;

use crate::machine::Machine;

/// Buffers in each direction, as a power of two.
const LOG_BUFFERS: u8 = 6;
const BUFFERS: usize = 1 << LOG_BUFFERS;

/// One of the two ways.
pub(crate) struct Line {
    kind: QueuePairKind,
    /// The HCA's port.
    port: Port,
    endpoint: Endpoint,
    completions: CompletionQueue,
    /// For a packet to send.
    free: heapless::Vec<Buffer, BUFFERS>,
}

impl Line {
    /// Opens the queue pair of the LHCA's port `number`, for what goes by the HCA's `port`.
    pub(crate) fn open(
        machine: &mut Machine,
        kind: QueuePairKind,
        port: Port,
        number: PortNum,
    ) -> Result<Self, CallError> {
        let completions = CompletionQueue::create(&machine.lhca, machine.memory.ring(LOG_BUFFERS + 1), VECTOR)?;
        let setup = Setup { kind, port: number, q_key: QKey::GSI, log_buffers: LOG_BUFFERS, completions: &completions };
        let endpoint = Endpoint::open(machine, &setup)?;
        let mut line = Self { kind, port, endpoint, completions, free: heapless::Vec::new() };
        for _ in 0..BUFFERS {
            let (posted, free) = (machine.memory.buffer(MAX_PACKET), machine.memory.buffer(size_of::<Mad>()));
            // There is a place for each.
            let _ = line.endpoint.post(machine, posted);
            let _ = line.free.push(free);
        }
        Ok(line)
    }

    /// Purpose.
    pub(crate) fn kind(&self) -> QueuePairKind {
        self.kind
    }

    /// The HCA's queue for the same.
    pub(crate) fn queue(&self) -> Queue {
        if self.kind == QueuePairKind::SMI { Queue::Qp0 } else { Queue::Packet }
    }

    /// So many datagrams can be sent now.
    pub(crate) fn room(&self) -> usize {
        self.free.len()
    }

    /// Sends a datagram to `address`, if there is room.
    pub(crate) fn send(&mut self, machine: &Machine, mad: &[u8], address: &SendEntry) {
        if let Some(mut buffer) = self.free.pop() {
            buffer.copy_from_slice(mad);
            if let Err(buffer) = self.endpoint.send(machine, buffer, 0, size_of::<Mad>(), address) {
                let _ = self.free.push(buffer);
            }
        }
    }

    /// Sends what a program sent; what has a P_Key that the port has not comes to nothing.
    pub(crate) fn forward(&mut self, machine: &Machine, outbound: &Outbound<'_>, p_keys: &[PKey]) {
        let index = match self.kind {
            QueuePairKind::SMI => Some(0), // which has none
            _ => (0..).zip(p_keys).find(|(_, own)| own.matches(outbound.p_key)).map(|(index, _)| index),
        };
        if let Some(index) = index {
            let address = SendEntry { p_key_index: index, ..outbound.address };
            self.send(machine, outbound.mad.as_bytes(), &address);
        }
    }

    /// Takes what was sent and received, and hands the latter to the HCA. Whether there may be more.
    pub(crate) fn serve<D: Doorbell>(
        &mut self,
        machine: &Machine,
        hca: &mut Hca<D>,
        lid: Lid,
        p_keys: &[PKey],
    ) -> bool {
        for _ in 0..2 * BUFFERS {
            // While the HCA has no room, what came stays where it is: an interrupt tells of room.
            if self.queue() == Queue::Packet && hca.identity().is_some() && !hca.has_room(self.port, Queue::Packet) {
                return false;
            }
            let Some(completion) = self.completions.next(&machine.lhca) else { return self.completions.arm() };
            match self.endpoint.take(&completion) {
                Some(Done::Sent(buffer, _)) => _ = self.free.push(buffer),
                Some(Done::Unfilled(buffer)) => _ = self.endpoint.post(machine, buffer),
                Some(Done::Arrived(arrival)) => {
                    self.hand_on(&arrival, hca, lid, p_keys);
                    let _ = self.endpoint.post(machine, arrival.buffer);
                }
                None => {}
            }
        }
        true
    }

    fn hand_on<D: Doorbell>(&self, arrival: &Arrival, hca: &mut Hca<D>, lid: Lid, p_keys: &[PKey]) {
        let done = &arrival.completion;
        let p_key = p_keys.get(usize::from(done.p_key_index)).copied().unwrap_or(PKey::DEFAULT);
        let head = arrival.buffer.first_chunk().unwrap_or(&[0; GRH]);
        let mut bytes = [0; MAX_PACKET];
        let length = packet(&Home { kind: self.kind, lid, p_key }, done, head, arrival.payload(), &mut bytes);
        // Without a device at the other end no notification is needed.
        let _ = hca.send(self.port, self.queue(), &bytes[..length]);
    }
}
