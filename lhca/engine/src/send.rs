//! The slow path of send requests: a packet for each.

use iba::attr::PortState;
use iba::bth::{Bth, Opcode};
use iba::grh::Grh;
use iba::lrh::NextHeader;
use iba::mad::{AttributeId, Class, Mad, Method, Status};
use iba::packet::{SmpPacket, UdHeader};
use iba::{Gid, Lid, PKey, PortNum, Qpn, Vl};
use lhca_contract::{
    Completion, CompletionKind, CompletionStatus, Event, EventKind, Handle, QueuePairKind, QueuePairState, SendEntry,
    WorkFlags,
};
use subnet::{ChannelAdapter, Time};
use zerocopy::{FromBytes, IntoBytes};

use crate::guest::Guest;
use crate::lhca::{Lhca, count};
use crate::objects::QueuePair;
use crate::segments::{Pieces, Regions};
use partition_table::RefusalPolicy;

/// Length of the immediate data behind the headers, in bytes.
pub(crate) const IMMEDIATE: usize = 4;

/// Length of the longest packet, in bytes: the longest headers and the largest payload.
pub(crate) const MAX_PACKET: usize = size_of::<UdHeader>() + size_of::<Grh>() + IMMEDIATE + 4096;

/// Outcome of the next send request of a queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// There is none, or it waits for room; the partition notifies when that changes.
    Empty,
    /// One completed with an error; there may be more.
    Completed,
    /// The partition's policy refused it; there may be more.
    Refused(Refusal),
    /// The request completed; the caller sends its packet of this many bytes from this port.
    Packet(PortNum, usize),
}

/// A subnet management packet that a partition may not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Method.
    pub method: Method,
    /// Attribute.
    pub attribute: AttributeId,
    /// Destination; permissive for a directed route.
    pub dlid: Lid,
}

impl Refusal {
    /// Returns `true` if its sender waits for a response.
    fn is_request(self) -> bool {
        matches!(self.method, Method::GET | Method::SET)
    }
}

impl<G: Guest> Lhca<G> {
    /// Executes the next send request of the queue pair `handle`: writes its packet to `buffer` and completes the
    /// request.
    pub(crate) fn send_next(
        &mut self,
        now: Time,
        handle: u32,
        adapter: &ChannelAdapter,
        buffer: &mut [u8; MAX_PACKET],
    ) -> SendOutcome {
        let Some(pair) = self.pairs.get(handle) else { return SendOutcome::Empty };
        match pair.state {
            QueuePairState::READY_TO_SEND => {}
            QueuePairState::ERROR => return self.flush(handle),
            _ => return SendOutcome::Empty,
        }
        let queue = pair.config.send_completions;
        match pair.send.has_entry() {
            Ok(false) if self.polling.is_polled() || !pair.send.arm() => return SendOutcome::Empty,
            Ok(_) => {}
            Err(_) => return self.fail_pair(now, handle),
        }
        if !self.has_room(queue) {
            return SendOutcome::Empty;
        }
        let entry = pair.send.peek();
        let port = pair.port();
        let made =
            Request { guest: &self.guest, regions: &self.regions, pair, handle, adapter, entry: &entry }.make(buffer);
        let refusal = made.ok().and_then(|length| self.refuse(now, handle, buffer.get(..length)?));
        let is_answered = refusal.is_some_and(Refusal::is_request) && self.gate.policy.refused == RefusalPolicy::Answer;
        let Some(pair) = self.pairs.get_mut(handle) else { return SendOutcome::Empty };
        pair.send.consume();
        pair.publish_sends();
        let status = match (made, refusal) {
            (Err(status), _) => status,
            (Ok(_), Some(_)) if !is_answered => CompletionStatus::REFUSED,
            (Ok(_), _) => CompletionStatus::SUCCESS,
        };
        if status == CompletionStatus::SUCCESS {
            pair.count_packets(1);
        }
        let (id, queue_pair, kind) = (entry.id, Handle(handle), CompletionKind::SEND);
        self.complete(queue, &Completion { id, queue_pair, status, kind, ..Completion::default() });
        match (made, refusal) {
            (Err(_), _) => SendOutcome::Completed,
            (Ok(length), Some(refusal)) => {
                if is_answered {
                    self.answer_refused(adapter, port, &mut buffer[..length]);
                }
                SendOutcome::Refused(refusal)
            }
            (Ok(length), None) => SendOutcome::Packet(port, length),
        }
    }

    /// Returns the refusal of a packet of queue pair 0 by the partition's policy, if it is refused.
    fn refuse(&mut self, now: Time, handle: u32, packet: &[u8]) -> Option<Refusal> {
        let pair = self.pairs.get(handle).filter(|pair| pair.config.kind == QueuePairKind::SMI)?;
        let (packet, _) = SmpPacket::ref_from_prefix(packet).ok()?;
        let header = &packet.smp.header;
        if self.gate.admits(now, pair.port(), header.method) {
            return None;
        }
        count(&mut self.drops.refused);
        Some(Refusal { method: header.method, attribute: header.attribute_id, dlid: packet.header.lrh.dlid })
    }

    /// Answers a refused request as its destination does for an unknown method or attribute (13.4.7).
    fn answer_refused(&mut self, adapter: &ChannelAdapter, port: PortNum, packet: &mut [u8]) {
        let Ok(answer) = SmpPacket::mut_from_bytes(packet) else { return };
        let lrh = &mut answer.header.lrh;
        (lrh.slid, lrh.dlid) = (lrh.dlid, lrh.slid);
        let smp = &mut answer.smp;
        smp.header.method = Method::GET_RESP;
        smp.set_status(Status::BAD_METHOD_ATTRIBUTE);
        if smp.header.class == Class::SUBN_DIRECTED_ROUTE {
            smp.set_returning(true);
            smp.set_hop_pointer(0);
        }
        // Queue pair 0 has no keys to check.
        let _ = self.receive(adapter, port, packet);
    }

    /// Moves the queue pair to the state Error: its ring's index breaks the contract.
    fn fail_pair(&mut self, now: Time, handle: u32) -> SendOutcome {
        if let Some(pair) = self.pairs.get_mut(handle) {
            pair.state = QueuePairState::ERROR;
            self.changes += 1;
            self.report(Event { kind: EventKind::QUEUE_PAIR_ERROR, source: handle, time: now.0 });
        }
        self.flush(handle)
    }

    /// Completes the next request of a queue pair in error as flushed.
    fn flush(&mut self, handle: u32) -> SendOutcome {
        let flushed = self.flush_one(handle, CompletionKind::SEND) || self.flush_one(handle, CompletionKind::RECEIVE);
        if flushed { SendOutcome::Completed } else { SendOutcome::Empty }
    }

    fn flush_one(&mut self, handle: u32, kind: CompletionKind) -> bool {
        let Some(pair) = self.pairs.get(handle) else { return false };
        let sends = kind == CompletionKind::SEND;
        let config = &pair.config;
        let (next, queue) = if sends {
            (pair.send.next().map(|entry| entry.id), config.send_completions)
        } else {
            (pair.receive.next().map(|entry| entry.id), config.receive_completions)
        };
        let Some(id) = next.filter(|_| self.has_room(queue)) else { return false };
        let Some(pair) = self.pairs.get_mut(handle) else { return false };
        if sends {
            pair.send.consume();
            pair.publish_sends();
        } else {
            pair.receive.consume();
            pair.publish_receives();
        }
        let (queue_pair, status) = (Handle(handle), CompletionStatus::FLUSHED);
        self.complete(queue, &Completion { id, queue_pair, status, kind, ..Completion::default() });
        true
    }
}

/// A send request, and what is needed to make a packet of it.
struct Request<'a, G: Guest> {
    guest: &'a G,
    regions: &'a Regions,
    pair: &'a QueuePair<G>,
    handle: u32,
    adapter: &'a ChannelAdapter,
    entry: &'a SendEntry,
}

impl<G: Guest> Request<'_, G> {
    /// Makes the packet in `buffer`; its length.
    fn make(&self, buffer: &mut [u8; MAX_PACKET]) -> Result<usize, CompletionStatus> {
        let pieces = self.pieces()?;
        let info = self.adapter.port_info(self.pair.port()).ok_or(CompletionStatus::PORT_DOWN)?;
        let needed = if self.is_smi() { PortState::INIT } else { PortState::ACTIVE };
        if info.port_state() < needed {
            return Err(CompletionStatus::PORT_DOWN);
        }
        let mtu = usize::from(info.neighbor_mtu().bytes().unwrap_or(256));
        let payload = pieces.len();
        let is_mad = self.pair.config.kind != QueuePairKind::UD;
        if payload > mtu || is_mad && payload != size_of::<Mad>() {
            return Err(CompletionStatus::LENGTH);
        }
        let start = self.headers(payload, buffer)?;
        let end = start + payload.next_multiple_of(4);
        let room = buffer.get_mut(start..end).ok_or(CompletionStatus::LENGTH)?;
        room[payload..].fill(0);
        pieces.gather(self.guest, room)?;
        Ok(end)
    }

    fn is_smi(&self) -> bool {
        self.pair.config.kind == QueuePairKind::SMI
    }

    fn has(&self, flag: WorkFlags) -> bool {
        self.entry.flags.contains(flag)
    }

    /// The memory that the payload is in.
    fn pieces(&self) -> Result<Pieces, CompletionStatus> {
        let entry = self.entry;
        let for_mads = WorkFlags::IMMEDIATE | WorkFlags::SOLICITED;
        let wrong = match self.pair.config.kind {
            QueuePairKind::SMI => for_mads | WorkFlags::GRH,
            QueuePairKind::GSI => for_mads,
            _ => WorkFlags::empty(),
        };
        if !WorkFlags::all().contains(entry.flags) || entry.flags.intersects(wrong) || entry.sl.get() > 15 {
            return Err(CompletionStatus::MALFORMED);
        }
        if self.has(WorkFlags::INDIRECT) {
            return Pieces::indirect(self.guest, self.regions, &entry.segment, entry.segments, false);
        }
        let segments = [entry.segment, entry.second_segment()];
        let most = if self.has(WorkFlags::GRH) { 1 } else { 2 };
        let segments = segments[..most].get(..entry.segments.into()).ok_or(CompletionStatus::MALFORMED)?;
        Pieces::direct(self.regions, segments, false)
    }

    /// Writes the headers; where the payload begins.
    fn headers(&self, payload: usize, buffer: &mut [u8; MAX_PACKET]) -> Result<usize, CompletionStatus> {
        let entry = self.entry;
        let grh = if self.has(WorkFlags::GRH) { size_of::<Grh>() } else { 0 };
        let immediate = if self.has(WorkFlags::IMMEDIATE) { IMMEDIATE } else { 0 };
        let padded = payload.next_multiple_of(4);
        let (slid, dlid) = self.lids()?;
        let mut header = UdHeader::new(slid, dlid, entry.sl, grh + immediate + padded);
        header.bth.opcode = if immediate > 0 { Opcode::UD_SEND_ONLY_IMMEDIATE } else { Opcode::UD_SEND_ONLY };
        header.bth.set_pad_count(u8::try_from(padded - payload).unwrap_or_default());
        header.bth.set_solicited_event(self.has(WorkFlags::SOLICITED));
        (header.bth.dest_qp, header.bth.psn) = (entry.remote_qp, self.pair.psn());
        header.bth.p_key = self.p_key()?;
        header.deth.src_qp = self.pair.number(self.handle);
        let own_key = entry.q_key.get() >> 31 != 0;
        header.deth.q_key = if own_key { self.pair.q_key } else { entry.q_key };
        if self.is_smi() {
            header.lrh.set_vl(Vl::MANAGEMENT);
            header.deth.q_key = self.pair.q_key;
        }
        let UdHeader { mut lrh, bth, deth } = header;
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            buffer[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if grh > 0 {
            lrh.set_next_header(NextHeader::Grh);
            put(lrh.as_bytes());
            put(self.grh(size_of::<Bth>() + deth.as_bytes().len() + immediate + padded + 4)?.as_bytes());
        } else {
            put(lrh.as_bytes());
        }
        put(bth.as_bytes());
        put(deth.as_bytes());
        put(&entry.immediate[..immediate]);
        Ok(at)
    }

    /// Source and destination, if they can be that.
    fn lids(&self) -> Result<(Lid, Lid), CompletionStatus> {
        let bad = Err(CompletionStatus::BAD_ADDRESS);
        let entry = self.entry;
        let Some(info) = self.adapter.port_info(self.pair.port()) else { return bad };
        if self.is_smi() {
            // A directed route begins where LIDs are unknown.
            let slid = if entry.dlid == Lid::PERMISSIVE { Lid::PERMISSIVE } else { info.lid };
            let fits = entry.remote_qp == Qpn::SMI && (entry.dlid.is_unicast() || entry.dlid == Lid::PERMISSIVE);
            return if fits { Ok((slid, entry.dlid)) } else { bad };
        }
        let group = entry.dlid.is_multicast();
        // A group's members are known by the GID (9.5.1.1), and no data leads to queue pair 0.
        let remote = match entry.remote_qp {
            Qpn::SMI => false,
            Qpn::MULTICAST => group && self.has(WorkFlags::GRH),
            _ => entry.dlid.is_unicast(),
        };
        if !remote || !info.lid.is_unicast() || entry.source_path >> info.lmc() != 0 {
            return bad;
        }
        Ok((Lid::new(info.lid.get() | u16::from(entry.source_path)), entry.dlid))
    }

    fn p_key(&self) -> Result<PKey, CompletionStatus> {
        let index = match self.pair.config.kind {
            QueuePairKind::SMI => return Ok(PKey::DEFAULT),
            QueuePairKind::GSI => self.entry.p_key_index,
            _ => self.pair.p_key_index,
        };
        let table = self.adapter.p_keys(self.pair.port());
        let p_key = table.and_then(|table| table.p_keys.get(usize::from(index)));
        p_key.copied().filter(|p_key| !p_key.is_invalid()).ok_or(CompletionStatus::BAD_P_KEY)
    }

    fn grh(&self, length: usize) -> Result<Grh, CompletionStatus> {
        let entry = self.entry;
        let port = self.pair.port();
        let word = u32::from_be_bytes(entry.grh_word);
        let guids = self.adapter.guids(port).zip(self.adapter.port_info(port));
        let source = guids.and_then(|(guids, info)| Some((info.gid_prefix, *guids.guids.get(word as usize >> 28)?)));
        let (prefix, guid) = source.filter(|(_, guid)| guid.get() != 0).ok_or(CompletionStatus::BAD_ADDRESS)?;
        let mut grh = Grh::default();
        grh.set_ip_version(Grh::IP_VERSION);
        grh.set_traffic_class((word >> 20 & 0xff) as u8);
        grh.set_flow_label(word & 0xf_ffff);
        grh.payload_length = u16::try_from(length).map_err(|_| CompletionStatus::LENGTH)?.into();
        grh.next_header = Grh::NEXT_HEADER_BTH;
        grh.hop_limit = entry.hop_limit;
        (grh.sgid, grh.dgid) = (Gid { prefix, guid }, entry.destination_gid);
        Ok(grh)
    }
}
