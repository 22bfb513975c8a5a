//! The slow path of receive requests: packets that arrive.

use iba::bth::Opcode;
use iba::packet::{self, Packet, TransportPacket};
use iba::{PKey, PortNum, Qpn};
use lhca_contract::{
    Completion, CompletionFlags, CompletionKind, CompletionStatus, Handle, QueuePairKind, ReceiveEntry, WorkFlags,
};
use subnet::{ChannelAdapter, Key};
use zerocopy::IntoBytes;

use crate::guest::Guest;
use crate::lhca::{Lhca, count};
use crate::objects::{QueuePair, handle_of};
use crate::segments::Pieces;
use crate::send::IMMEDIATE;

/// Bytes before each payload, for a global route header.
pub(crate) const GRH: usize = 40;

/// A datagram that arrived: its headers, and its payload without padding.
struct Datagram<'a> {
    headers: TransportPacket<&'a [u8]>,
    immediate: Option<[u8; IMMEDIATE]>,
    payload: &'a [u8],
    p_key_index: u16,
    path: u8,
}

impl<G: Guest> Lhca<G> {
    /// Delivers a packet that arrived at `port` to the queue pairs that it is for.
    ///
    /// # Errors
    /// The key for which the queue pair refused it.
    pub(crate) fn receive(&mut self, adapter: &ChannelAdapter, port: PortNum, packet: &[u8]) -> Result<(), Key> {
        let Some(datagram) = Datagram::new(adapter, port, packet) else {
            count(&mut self.drops.no_queue_pair);
            return Ok(());
        };
        let number = datagram.headers.bth.dest_qp;
        match number {
            Qpn::MULTICAST => {
                self.receive_group(adapter, port, &datagram);
                Ok(())
            }
            Qpn::SMI | Qpn::GSI => {
                let kind = if number == Qpn::SMI { QueuePairKind::SMI } else { QueuePairKind::GSI };
                // The node's agents have checked the keys.
                match self.alias(port, kind).copied().flatten() {
                    Some(handle) => self.fill(handle, &datagram),
                    None => count(&mut self.drops.no_queue_pair),
                }
                Ok(())
            }
            _ => self.receive_one(adapter, port, handle_of(number), &datagram),
        }
    }

    fn receive_one(
        &mut self,
        adapter: &ChannelAdapter,
        port: PortNum,
        handle: u32,
        datagram: &Datagram<'_>,
    ) -> Result<(), Key> {
        let Some(pair) =
            self.pairs.get(handle).filter(|pair| pair.config.kind == QueuePairKind::UD && pair.port() == port)
        else {
            count(&mut self.drops.no_queue_pair);
            return Ok(());
        };
        let p_key = p_keys(adapter, port).nth(pair.p_key_index.into());
        let refused = if !p_key.is_some_and(|own| own.matches(datagram.headers.bth.p_key)) {
            Some(Key::PKey)
        } else if datagram.headers.deth.as_deref().is_none_or(|deth| deth.q_key != pair.q_key) {
            Some(Key::QKey)
        } else {
            None
        };
        match refused {
            Some(key) => {
                count(&mut self.drops.bad_key);
                Err(key)
            }
            None => {
                self.fill(handle, datagram);
                Ok(())
            }
        }
    }

    /// Delivers a datagram to each queue pair that is attached to its group and has its keys.
    fn receive_group(&mut self, adapter: &ChannelAdapter, port: PortNum, datagram: &Datagram<'_>) {
        let (lid, gid) = (datagram.headers.lrh.dlid, datagram.headers.grh.as_deref().map(|grh| grh.dgid));
        for place in self.pairs.indices() {
            let Some(handle) = self.pairs.handle_at(place) else { continue };
            let member =
                |pair: &QueuePair<G>| pair.groups.iter().any(|group| group.lid == lid && Some(group.gid) == gid);
            if self.pairs.get(handle).is_some_and(member) {
                let _ = self.receive_one(adapter, port, handle, datagram);
            }
        }
    }

    /// Executes the next receive request of a queue pair.
    fn fill(&mut self, handle: u32, datagram: &Datagram<'_>) {
        let Some(pair) = self.pairs.get(handle).filter(|pair| pair.receives()) else {
            return count(&mut self.drops.no_queue_pair);
        };
        let queue = pair.config.receive_completions;
        let posted = pair.receive.has_entry() == Ok(true) && self.has_room(queue);
        if !posted {
            return count(&mut self.drops.no_room);
        }
        let entry = pair.receive.peek();
        let own_index = (pair.config.kind == QueuePairKind::UD).then_some(pair.p_key_index);
        let filled = self.scatter(&entry, datagram);
        if let Some(pair) = self.pairs.get_mut(handle) {
            pair.receive.consume();
            pair.publish_receives();
        }
        let mut completion = datagram.completion();
        (completion.id, completion.queue_pair) = (entry.id, Handle(handle));
        completion.p_key_index = own_index.unwrap_or(completion.p_key_index);
        completion.status = filled.err().unwrap_or(CompletionStatus::SUCCESS);
        self.complete(queue, &completion);
    }

    fn scatter(&self, entry: &ReceiveEntry, datagram: &Datagram<'_>) -> Result<(), CompletionStatus> {
        let (guest, regions) = (&self.guest, &self.regions);
        let list = match entry.flags {
            flags if flags == WorkFlags::INDIRECT => true,
            flags if flags == WorkFlags::empty() => false,
            _ => return Err(CompletionStatus::MALFORMED),
        };
        if entry.reserved != [0; 6] {
            return Err(CompletionStatus::MALFORMED);
        }
        let pieces = if list {
            Pieces::indirect(guest, regions, &entry.segment[0], entry.segments, true)
        } else {
            let segments = entry.segment.get(..entry.segments.into()).ok_or(CompletionStatus::MALFORMED)?;
            Pieces::direct(regions, segments, true)
        }?;
        if pieces.len() < GRH + datagram.payload.len() {
            return Err(CompletionStatus::LENGTH);
        }
        if let Some(grh) = &datagram.headers.grh {
            pieces.scatter(guest, 0, grh.as_bytes())?;
        }
        pieces.scatter(guest, GRH, datagram.payload)
    }
}

impl<'a> Datagram<'a> {
    /// Parses a packet; `None` if it is of another service.
    fn new(adapter: &ChannelAdapter, port: PortNum, packet: &'a [u8]) -> Option<Self> {
        let Ok(Packet::Transport(headers)) = packet::parse(packet) else { return None };
        let (immediate, payload) = match headers.bth.opcode {
            Opcode::UD_SEND_ONLY => (None, headers.payload),
            Opcode::UD_SEND_ONLY_IMMEDIATE => {
                let (immediate, payload) = headers.payload.split_first_chunk()?;
                (Some(*immediate), payload)
            }
            _ => return None,
        };
        let payload = payload.get(..payload.len().checked_sub(headers.bth.pad_count().into())?)?;
        let p_key = headers.bth.p_key;
        let index = p_keys(adapter, port).position(|own| own.matches(p_key)).unwrap_or_default();
        let info = adapter.port_info(port)?;
        let low = headers.lrh.dlid.get().to_be_bytes()[1];
        let path = if headers.lrh.dlid.is_unicast() { low & ((1 << info.lmc()) - 1) } else { 0 };
        Some(Self { headers, immediate, payload, p_key_index: u16::try_from(index).ok()?, path })
    }

    /// Returns the receiver's completion, without the fields of its queue pair.
    fn completion(&self) -> Completion {
        let mut flags = CompletionFlags::empty();
        flags.set(CompletionFlags::GRH, self.headers.grh.is_some());
        flags.set(CompletionFlags::IMMEDIATE, self.immediate.is_some());
        flags.set(CompletionFlags::SOLICITED, self.headers.bth.solicited_event());
        Completion {
            length: u32::try_from(GRH + self.payload.len()).unwrap_or(u32::MAX),
            kind: CompletionKind::RECEIVE,
            flags,
            sl: self.headers.lrh.sl(),
            slid: self.headers.lrh.slid,
            p_key_index: self.p_key_index,
            source_qp: self.headers.deth.as_deref().map(|deth| deth.src_qp).unwrap_or_default(),
            destination_path: self.path,
            immediate: self.immediate.unwrap_or_default(),
            ..Completion::default()
        }
    }
}

/// Returns the P_Keys of a port, by index.
fn p_keys(adapter: &ChannelAdapter, port: PortNum) -> impl Iterator<Item = PKey> {
    adapter.p_keys(port).into_iter().flat_map(|table| table.p_keys)
}
