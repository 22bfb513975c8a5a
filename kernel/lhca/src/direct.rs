//! The short way of a datagram from one partition to another: from the sender's memory to the receiver's in one copy,
//! without a packet in between.
//!
//! It is for what comes most: a UD queue pair sends from one piece of memory to a queue pair behind the same logical switch
//! that has room for it in one piece. It leads where the long way leads (`send`, the HSMA, `receive`), and tests hold each
//! against the other. Whatever is not plain goes the long way, refusals and errors included.

use iba::{Lid, QKey, Qpn, Sl};
use lhca_contract::{
    Completion, CompletionFlags, CompletionKind, Handle, QueuePairKind, QueuePairState, ReceiveEntry, Segment,
    SendEntry, WorkFlags,
};
use subnet::{ChannelAdapter, Hsma, Layout, LhcaId, Path, Time};

use crate::guest::Guest;
use crate::lhca::Lhca;
use crate::objects::{QueuePair, name_of};
use crate::receive::GRH;
use crate::send::IMMEDIATE;

/// What the datagrams of a queue pair to one place have in common.
#[derive(Clone, Copy, Debug)]
struct Flow {
    key: (Lid, Sl, Qpn),
    layout: Layout,
    /// `None`: they go the long way.
    way: Option<Way>,
}

#[derive(Clone, Copy, Debug)]
struct Way {
    path: Path,
    slid: Lid,
    /// The receiving queue pair's, with which its P_Key was found to match.
    p_key_index: u16,
    destination_path: u8,
}

/// Flows that a queue pair remembers, by the lower bits of the LID.
#[derive(Debug, Default)]
pub(crate) struct Flows([Option<Flow>; 8]);

/// Words of four bytes that are not payload: headers and invariant CRC.
const OVERHEAD: usize = (size_of::<iba::packet::UdHeader>() + 4) / 4;

/// Takes the next send request of the queue pair `name` of the LHCA `id` to its receiver, if it may go the short way. If not,
/// nothing has happened.
pub(crate) fn pass<G: Guest>(
    hsma: &mut Hsma,
    lhcas: &mut [Option<Lhca<G>>],
    now: Time,
    id: LhcaId,
    name: u32,
) -> Option<()> {
    let layout = hsma.layout(now)?;
    let sender = lhcas.get(usize::from(id.0))?.as_ref()?;
    let pair = sender.pairs.get(name)?;
    let entry = posted(pair, &sender.guest)?;
    let key = (entry.dlid, entry.sl, entry.remote_qp);
    let way = match &pair.flows.0[slot(entry.dlid)] {
        Some(flow) if flow.key == key && flow.layout == layout => flow.way?,
        _ => find(hsma, lhcas, id, name, Flow { key, layout, way: None })?,
    };
    let places = [id, way.path.lhca].map(|id| usize::from(id.0));
    let Ok([Some(sender), Some(receiver)]) = lhcas.get_disjoint_mut(places) else { return None };
    let from = sender.pairs.get_mut(name)?;
    let to_name = name_of(entry.remote_qp);
    let to = receiver.pairs.get_mut(to_name)?;

    let (payload, immediate) = (entry.segment.length as usize, entry.flags.contains(WorkFlags::IMMEDIATE));
    let words = OVERHEAD + usize::from(immediate) + payload.div_ceil(4);
    let q_key = if entry.q_key.get() >> 31 != 0 { from.q_key } else { entry.q_key };
    let words = u16::try_from(words).ok().filter(|_| payload <= usize::from(way.path.mtu))?;
    let room = awaited(to, &receiver.guest, &way, q_key)?;
    let (sends, receives) = (from.config.send_completions.0, to.config.receive_completions.0);
    let sends = sender.completion_queues.get_mut(sends).filter(|queue| queue.ring.has_room(&sender.guest))?;
    let receives = receiver.completion_queues.get_mut(receives).filter(|queue| queue.ring.has_room(&receiver.guest))?;
    if (room.segment[0].length as usize) < GRH + payload {
        return None;
    }
    let length = u32::try_from(GRH + payload).ok()?;
    let place = room.segment[0].address.checked_add(GRH as u64)?;
    sender.guest.copy(entry.segment.address, &receiver.guest, place, payload).ok()?;

    hsma.pass(&way.path, words);
    to.consume_receive(&receiver.guest);
    let received = Completion {
        id: room.id,
        queue_pair: Handle(to_name),
        length,
        kind: CompletionKind::RECEIVE,
        flags: flags(entry.flags),
        sl: entry.sl,
        slid: way.slid,
        p_key_index: way.p_key_index,
        source_qp: from.number(name),
        destination_path: way.destination_path,
        immediate: if immediate { entry.immediate } else { [0; IMMEDIATE] },
        ..Completion::default()
    };
    receives.push(&receiver.guest, &received);
    from.consume_send(&sender.guest);
    from.count_packet();
    let kind = CompletionKind::SEND;
    sends.push(&sender.guest, &Completion { id: entry.id, queue_pair: Handle(name), kind, ..Completion::default() });
    Some(())
}

/// The next send request of a queue pair, if it is a plain one.
#[inline(always)]
fn posted(pair: &QueuePair, guest: &impl Guest) -> Option<SendEntry> {
    let ready = pair.config.kind == QueuePairKind::UD && pair.state == QueuePairState::READY_TO_SEND;
    if !ready || !pair.send.has_entry(guest).ok()? {
        return None;
    }
    let entry = pair.send.peek(guest).ok()?;
    let plain = WorkFlags::IMMEDIATE.union(WorkFlags::SOLICITED).contains(entry.flags)
        && entry.segments == 1
        && entry.segment.l_key == Segment::PHYSICAL
        && entry.source_path == 0;
    plain.then_some(entry)
}

/// The next receive request of a queue pair, if it takes what comes with this key, and is a plain one.
#[inline(always)]
fn awaited(to: &QueuePair, guest: &impl Guest, way: &Way, q_key: QKey) -> Option<ReceiveEntry> {
    if !to.receives() || to.q_key != q_key || to.p_key_index != way.p_key_index || !to.receive.has_entry(guest).ok()? {
        return None;
    }
    let entry = to.receive.peek(guest).ok()?;
    let plain = entry.flags == WorkFlags::empty()
        && entry.segments == 1
        && entry.reserved == [0; 6]
        && entry.segment[0].l_key == Segment::PHYSICAL;
    plain.then_some(entry)
}

/// Finds out where a flow goes, and remembers it.
#[cold]
fn find<G: Guest>(hsma: &Hsma, lhcas: &mut [Option<Lhca<G>>], id: LhcaId, name: u32, flow: Flow) -> Option<Way> {
    let pair = lhcas.get(usize::from(id.0))?.as_ref()?.pairs.get(name)?;
    let way = way(hsma, lhcas, id, pair, flow.key);
    let pair = lhcas.get_mut(usize::from(id.0))?.as_mut()?.pairs.get_mut(name)?;
    pair.flows.0[slot(flow.key.0)] = Some(Flow { way, ..flow });
    way
}

fn way<G: Guest>(
    hsma: &Hsma,
    lhcas: &[Option<Lhca<G>>],
    id: LhcaId,
    from: &QueuePair,
    (dlid, sl, qp): (Lid, Sl, Qpn),
) -> Option<Way> {
    if matches!(qp, Qpn::SMI | Qpn::GSI | Qpn::MULTICAST) || sl.get() > 15 {
        return None;
    }
    let source = hsma.lhca(id)?;
    let key = |adapter: &ChannelAdapter, pair: &QueuePair| {
        adapter.p_keys(pair.port())?.p_keys.get(usize::from(pair.p_key_index)).copied()
    };
    let p_key = key(source, from).filter(|key| !key.is_invalid())?;
    let path = hsma.path(id, from.port(), dlid, sl, p_key)?;
    let target = hsma.lhca(path.lhca)?;
    let to = lhcas.get(usize::from(path.lhca.0))?.as_ref()?.pairs.get(name_of(qp))?;
    let fits = key(target, to)?.matches(p_key) && to.config.kind == QueuePairKind::UD && to.port() == path.port;
    let slid = source.port_info(from.port())?.lid;
    let lmc = target.port_info(path.port)?.lmc();
    let destination_path = dlid.get().to_be_bytes()[1] & ((1 << lmc) - 1);
    (fits && slid.is_unicast()).then_some(Way { path, slid, p_key_index: to.p_key_index, destination_path })
}

fn slot(dlid: Lid) -> usize {
    usize::from(dlid.get() & 7)
}

fn flags(sent: WorkFlags) -> CompletionFlags {
    let mut flags = CompletionFlags::empty();
    flags.set(CompletionFlags::IMMEDIATE, sent.contains(WorkFlags::IMMEDIATE));
    flags.set(CompletionFlags::SOLICITED, sent.contains(WorkFlags::SOLICITED));
    flags
}
