//! The short way of datagrams from one partition to another: from the sender's memory to the receiver's in one copy,
//! without a packet in between.
//!
//! It is for what comes most: a UD queue pair sends from one piece of memory to a queue pair behind the same logical switch
//! that has room for it in one piece. It leads where the long way leads (`send`, the HSMA, `receive`), and tests hold each
//! against the other. Whatever is not plain goes the long way, refusals and errors included.
//!
//! What datagrams to one place have in common is found out once, and is a [`Flow`]. Of each datagram then only those words
//! are looked at in which it may differ, and what was done is published once for all that went one after the other.

use alloc::boxed::Box;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering, fence};

use iba::{Lid, PortNum, Qpn};
use lhca_contract::{
    Completion, CompletionFlags, CompletionKind, Handle, QueuePairKind, QueuePairState, ReceiveEntry, Segment,
    SendEntry, WorkFlags,
};
use subnet::{ChannelAdapter, Hsma, Layout, LhcaId, TallyId, Time};
use zerocopy::transmute;

use crate::guest::{Guest, Ring};
use crate::lhca::Lhca;
use crate::objects::{QueuePair, name_of, tell};
use crate::receive::GRH;
use crate::ring::Consumer;

/// The words of an entry.
type Words = [AtomicU64; 8];

/// Where a send request goes, and how: its second and third word, flags to Q_Key.
type Address = [u64; 2];

/// What the datagrams of a queue pair to one place have in common.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    address: Address,
    layout: Layout,
    /// The receiver's place; [`NOWHERE`] if they go the long way.
    receiver: usize,
    /// What the receiver's changes came to, when its queue pair was found to take this.
    changes: u64,
    /// The receiving queue pair's place.
    place: usize,
    tally: TallyId,
    /// Words of four bytes of each that are not payload: headers and invariant CRC.
    overhead: u64,
    /// What of the immediate data is told.
    immediate: u64,
    /// The longest payload.
    mtu: u64,
    /// What the receiver is told, but for what is each datagram's own.
    received: [u64; 4],
    /// The name of the sending queue pair.
    sender: u64,
}

/// Flows that a queue pair remembers, by the lower bits of the LID.
#[derive(Debug, Default)]
pub(crate) struct Flows([Flow; 8]);

/// What became of the send requests of a queue pair.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Passed {
    /// Some were sent, and there are no more; the partition rings for the next, if it is not watched.
    All,
    /// So many were sent, and there may be more.
    Some(u32),
    /// None: the next goes the long way, if there is one.
    None,
}

/// The place of no LHCA.
const NOWHERE: usize = usize::MAX;

/// Words of four bytes that are not payload: headers and invariant CRC.
const OVERHEAD: u64 = (size_of::<iba::packet::UdHeader>() as u64 + 4) / 4;

/// Lowest bit of the second half of a word.
const HIGH: u32 = 32;

/// The second word of a plain receive request: one segment, and no flags.
const PLAIN_RECEIVE: u64 = {
    assert!(offset_of!(ReceiveEntry, flags) == 8 && offset_of!(ReceiveEntry, segments) == 9);
    1 << 8
};

/// The third word of what the sender is told.
const SENT: u64 = {
    assert!(offset_of!(Completion, status) == 16 && offset_of!(Completion, kind) == 17);
    (CompletionKind::SEND.0 as u64) << 8
};

const _: () = {
    assert!(offset_of!(SendEntry, flags) == 8 && offset_of!(SendEntry, immediate) == 24, "two words between");
    assert!(offset_of!(SendEntry, segment) == 32 && offset_of!(ReceiveEntry, segment) == 16);
    assert!(offset_of!(Segment, length) == 8 && offset_of!(Segment, l_key) == 12 && Segment::PHYSICAL == 0);
    assert!(offset_of!(Completion, queue_pair) == 8 && offset_of!(Completion, length) == 12);
    assert!(offset_of!(Completion, immediate) == 28);
};

/// Takes the next send requests of the queue pair `name` of the LHCA `id` to their receiver, at most `most` of them, as long
/// as they may go the short way, and to one place.
#[inline(always)]
pub(crate) fn pass<G: Guest>(
    hsma: &mut Hsma,
    lhcas: &mut [Option<Box<Lhca<G>>>],
    now: Time,
    id: LhcaId,
    name: u32,
    most: u32,
) -> Passed {
    let Some(layout) = hsma.layout(now) else { return Passed::None };
    match pass_known(hsma, lhcas, (now, layout), id, name, most) {
        Some(Ok(passed)) => passed,
        Some(Err(address)) => find(hsma, lhcas, id, name, address, layout).unwrap_or(Passed::None),
        None => Passed::None,
    }
}

/// As [`pass`], where the flow is known. If it is not, its address.
#[inline(always)]
fn pass_known<G: Guest>(
    hsma: &mut Hsma,
    lhcas: &[Option<Box<Lhca<G>>>],
    (now, layout): (Time, Layout),
    id: LhcaId,
    name: u32,
    most: u32,
) -> Option<Result<Passed, Address>> {
    let sender = lhca(lhcas, id.0.into())?;
    let from = sender.pairs.get(name)?;
    if from.state != QueuePairState::READY_TO_SEND || from.send.has_entry() != Ok(true) {
        return None;
    }
    let request = request(&from.send)?;
    let address = address(request);
    let Some(flow) = from.flows.get(address, layout) else { return Some(Err(address)) };
    let receiver = lhca(lhcas, flow.receiver)?;
    if receiver.changes != flow.changes {
        return Some(Err(address));
    }
    let to = receiver.pairs.at(flow.place)?;
    receiver.pace.received(now);
    let count = flow.pass(hsma, from, to, request, most)?;
    publish(from, to, sender.pace.is_watched());
    Some(Ok(if from.send.has_seen_entry() { Passed::Some(count) } else { Passed::All }))
}

#[inline(always)]
fn lhca<G: Guest>(lhcas: &[Option<Box<Lhca<G>>>], place: usize) -> Option<&Lhca<G>> {
    lhcas.get(place)?.as_deref()
}

/// The next send request, which there is.
#[inline(always)]
fn request(send: &Consumer<impl Ring>) -> Option<&Words> {
    send.entry().first_chunk()
}

/// Where it goes.
#[inline(always)]
fn address(request: &Words) -> Address {
    [load(&request[1]), load(&request[2])]
}

#[inline(always)]
fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

impl Flow {
    /// One that goes the long way.
    fn long(address: Address, layout: Layout) -> Self {
        Self { address, layout, receiver: NOWHERE, ..Self::default() }
    }

    /// Passes the next datagram, which `request` asks for, and those behind it that are of the flow, `most` together, as far as
    /// the receiver has room: how many. Nothing if not even the first was passed.
    #[inline(always)]
    fn pass<'a, G: Guest>(
        &self,
        hsma: &mut Hsma,
        from: &'a QueuePair<G>,
        to: &QueuePair<G>,
        mut request: &'a Words,
        most: u32,
    ) -> Option<u32> {
        let mut left = most;
        while let Some(words) = self.pass_one(from, to, request) {
            hsma.pass(self.tally, words);
            left -= 1;
            if !from.send.has_seen_entry() || left == 0 {
                break;
            }
            request = self::request(&from.send)?;
            if address(request) != self.address {
                break;
            }
        }
        (left < most).then(|| most - left)
    }

    /// Passes one datagram; its words of four bytes.
    #[inline(always)]
    fn pass_one<G: Guest>(&self, from: &QueuePair<G>, to: &QueuePair<G>, request: &Words) -> Option<u64> {
        let (sends, receives) = (&from.completions.send.ring, &to.completions.receive.ring);
        if !to.receive.has_entry().ok()? || !sends.has_room() || !receives.has_room() {
            return None;
        }
        let room: &Words = to.receive.entry().first_chunk()?;
        // A segment of registered memory has its L_Key in the upper half, and so is too long.
        let (payload, size) = (load(&request[5]), load(&room[3]));
        let length = GRH as u64 + payload;
        if payload > self.mtu || size >> HIGH != 0 || size < length || load(&room[1]) != PLAIN_RECEIVE {
            return None;
        }
        from.guest.copy(load(&request[4]), &to.guest, load(&room[2]), GRH, usize::try_from(payload).ok()?).ok()?;
        let immediate = load(&request[3]) << HIGH & self.immediate;
        let [_, second, third, fourth] = self.received;
        receives.put(&[load(&room[0]), second | length << HIGH, third, fourth | immediate]);
        sends.put(&[load(&request[0]), self.sender, SENT, 0]);
        to.receive.consume();
        from.send.consume();
        from.count_packets(1);
        Some(self.overhead + payload.div_ceil(4))
    }
}

/// Tells both partitions of what passed, and has the sender ring for the next if that was the last and it is not `watched`.
#[inline(always)]
fn publish<G: Guest>(from: &QueuePair<G>, to: &QueuePair<G>, watched: bool) {
    let (sends, receives) = (&*from.completions.send, &*to.completions.receive);
    // A partition that sees a completion counts on the room that its request took, so that comes first.
    let is_last = !from.send.has_seen_entry();
    if is_last && !watched {
        from.send.ask();
    }
    from.send.store();
    to.receive.store();
    receives.ring.store();
    sends.ring.store();
    fence(Ordering::SeqCst);
    if is_last {
        // An index that jumped is looked at again.
        let _ = from.send.look();
    }
    tell(&to.guest, to.config.vector, || to.receive.asked());
    tell(&to.guest, receives.vector, || receives.ring.asked());
    tell(&from.guest, from.config.vector, || from.send.asked());
    tell(&from.guest, sends.vector, || sends.ring.asked());
}

impl Flows {
    /// Where what goes to an address is remembered.
    #[inline(always)]
    fn place(address: Address) -> usize {
        const LOW_BYTE: usize = offset_of!(SendEntry, dlid) + 1 - 8;
        (address[0] >> (8 * LOW_BYTE)) as usize & 7
    }

    /// What is known of the flow to an address, unless the layout has changed since.
    #[inline(always)]
    fn get(&self, address: Address, layout: Layout) -> Option<&Flow> {
        Some(&self.0[Self::place(address)]).filter(|flow| flow.address == address && flow.layout == layout)
    }
}

/// Finds out where a flow goes, and remembers it.
#[cold]
fn find<G: Guest>(
    hsma: &mut Hsma,
    lhcas: &mut [Option<Box<Lhca<G>>>],
    id: LhcaId,
    name: u32,
    address: Address,
    layout: Layout,
) -> Option<Passed> {
    let pair = lhcas.get(usize::from(id.0))?.as_ref()?.pairs.get(name)?;
    let flow = short(hsma, lhcas, id, (name, pair), address, layout).unwrap_or(Flow::long(address, layout));
    let pair = lhcas.get_mut(usize::from(id.0))?.as_mut()?.pairs.get_mut(name)?;
    pair.flows.0[Flows::place(address)] = flow;
    (flow.receiver != NOWHERE).then_some(Passed::Some(0))
}

/// The flow to an address, if it goes the short way.
fn short<G: Guest>(
    hsma: &mut Hsma,
    lhcas: &[Option<Box<Lhca<G>>>],
    id: LhcaId,
    (name, from): (u32, &QueuePair<G>),
    address: Address,
    layout: Layout,
) -> Option<Flow> {
    let entry: SendEntry = transmute!([0, address[0], address[1], 0, 0, 0, 0, 0]);
    let plain = WorkFlags::IMMEDIATE.union(WorkFlags::SOLICITED).contains(entry.flags)
        && entry.segments == 1
        && entry.source_path == 0
        && entry.sl.get() <= 15;
    // Queue pairs 0 and 1 and groups are not told by their numbers alone.
    let to_name =
        Some(entry.remote_qp).filter(|qp| !matches!(*qp, Qpn::SMI | Qpn::GSI | Qpn::MULTICAST)).map(name_of)?;
    if !plain || from.config.kind != QueuePairKind::UD {
        return None;
    }
    let key = |adapter: &ChannelAdapter, port: PortNum, index: u16| {
        adapter.p_keys(port)?.p_keys.get(usize::from(index)).copied()
    };
    let source = hsma.lhca(id)?;
    let slid = source.port_info(from.port())?.lid;
    let p_key = key(source, from.port(), from.p_key_index)?;
    let path = hsma.path(id, from.port(), entry.dlid, entry.sl, p_key)?;
    let target = hsma.lhca(path.lhca)?;
    let receiver = lhcas.get(usize::from(path.lhca.0))?.as_ref()?;
    let to = receiver.pairs.get(to_name)?;
    let q_key = if entry.q_key.get() >> 31 != 0 { from.q_key } else { entry.q_key };
    let takes = to.config.kind == QueuePairKind::UD && to.port() == path.port && to.receives() && to.q_key == q_key;
    let has_immediate = entry.flags.contains(WorkFlags::IMMEDIATE);
    let matches = key(target, path.port, to.p_key_index)?.matches(p_key);
    let received = Completion {
        kind: CompletionKind::RECEIVE,
        queue_pair: Handle(to_name),
        flags: flags(entry.flags),
        sl: entry.sl,
        slid,
        p_key_index: to.p_key_index,
        source_qp: from.number(name),
        destination_path: path_bits(entry.dlid, target.port_info(path.port)?.lmc()),
        ..Completion::default()
    };
    (takes && matches && slid.is_unicast()).then_some(Flow {
        address,
        layout,
        receiver: path.lhca.0.into(),
        changes: receiver.changes,
        place: receiver.pairs.place_of(to_name)?,
        tally: path.tally,
        overhead: OVERHEAD + u64::from(has_immediate),
        immediate: if has_immediate { u64::MAX } else { 0 },
        mtu: path.mtu.into(),
        sender: name.into(),
        received: transmute!(received),
    })
}

/// Which of a port's 2^`lmc` LIDs `dlid` is.
fn path_bits(dlid: Lid, lmc: u8) -> u8 {
    dlid.get().to_be_bytes()[1] & ((1 << lmc) - 1)
}

fn flags(sent: WorkFlags) -> CompletionFlags {
    let mut flags = CompletionFlags::empty();
    flags.set(CompletionFlags::IMMEDIATE, sent.contains(WorkFlags::IMMEDIATE));
    flags.set(CompletionFlags::SOLICITED, sent.contains(WorkFlags::SOLICITED));
    flags
}
