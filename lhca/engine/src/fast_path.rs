//! The fast path of datagrams from one partition to another: one copy from the sender's memory to the receiver's, and
//! no packet.
//!
//! It serves the common case: a UD queue pair sends from one segment to a queue pair behind the same logical switch,
//! which has one segment of room for it. Its outcome is that of the slow path (`send`, the HSMA, `receive`); tests
//! compare both. All other datagrams take the slow path, refusals and errors included.
//!
//! The properties that datagrams to one destination have in common are resolved once, as a [`Flow`]. Of each datagram
//! only the words that may differ are read, and the ring indices are published once for a batch.

use alloc::boxed::Box;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering, fence};

use iba::{Lid, PortNum, Qpn};
use lhca_contract::{
    Completion, CompletionFlags, CompletionKind, Handle, QueuePairKind, QueuePairState, ReceiveEntry, Segment,
    SendEntry, WorkFlags,
};
use subnet::{ChannelAdapter, Hsma, LhcaId, RoutingEpoch, Time};
use zerocopy::transmute;

use crate::flow::{Address, Flow};
use crate::guest::{Guest, Ring};
use crate::lhca::Lhca;
use crate::objects::{QueuePair, handle_of, interrupt};
use crate::receive::GRH;
use crate::ring::Consumer;

/// Words of an entry.
type Words = [AtomicU64; 8];

/// Progress of the send requests of a queue pair on the fast path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Progress {
    /// At least one was sent and the queue is empty. The partition notifies for the next, unless it is polled.
    Drained,
    /// This many were sent, and there may be more.
    Sent(u32),
    /// No one was sent: the next takes the slow path, if there is one.
    SlowPath,
}

/// Outcome of an attempt on the flows that the queue pair remembers.
enum Attempt {
    /// The flow is known.
    Done(Progress),
    /// The flow to this address is unknown or out of date.
    Unresolved(Address),
}

/// Headers and invariant CRC of a packet, in words of four bytes.
const OVERHEAD: u64 = (size_of::<iba::packet::UdHeader>() as u64 + 4) / 4;

/// Lowest bit of the second half of a word.
const HIGH: u32 = 32;

/// Second word of a receive request with one segment and no flags.
const PLAIN_RECEIVE: u64 = {
    assert!(offset_of!(ReceiveEntry, flags) == 8 && offset_of!(ReceiveEntry, segments) == 9);
    1 << 8
};

/// Third word of the sender's completion: a send that succeeded.
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

/// Passes the next send requests of the queue pair `handle` of the LHCA `id` to their receiver: at most `most`, as long
/// as they may take the fast path and have the same destination.
#[inline(always)]
pub(crate) fn pass<G: Guest>(
    hsma: &mut Hsma,
    lhcas: &mut [Option<Box<Lhca<G>>>],
    now: Time,
    id: LhcaId,
    handle: u32,
    most: u32,
) -> Progress {
    let Some(epoch) = hsma.routing_epoch(now) else { return Progress::SlowPath };
    match pass_resolved(hsma, lhcas, (now, epoch), id, handle, most) {
        Attempt::Done(progress) => progress,
        Attempt::Unresolved(address) => resolve(hsma, lhcas, id, handle, address, epoch),
    }
}

/// As [`pass`], on the flows that the queue pair remembers.
#[inline(always)]
fn pass_resolved<G: Guest>(
    hsma: &mut Hsma,
    lhcas: &[Option<Box<Lhca<G>>>],
    (now, epoch): (Time, RoutingEpoch),
    id: LhcaId,
    handle: u32,
    most: u32,
) -> Attempt {
    const SLOW: Attempt = Attempt::Done(Progress::SlowPath);
    let Some(sender) = lhca(lhcas, id.0.into()) else { return SLOW };
    let Some(from) = sender.pairs.get(handle) else { return SLOW };
    if from.state != QueuePairState::READY_TO_SEND || from.send.has_entry() != Ok(true) {
        return SLOW;
    }
    let Some(request) = request(&from.send) else { return SLOW };
    let address = address(request);
    let Some(flow) = from.flows.get(address, epoch) else { return Attempt::Unresolved(address) };
    let Some(receiver) = lhca(lhcas, flow.receiver) else { return SLOW };
    if receiver.changes != flow.changes {
        return Attempt::Unresolved(address);
    }
    let Some(to) = receiver.pairs.at(flow.slot) else { return SLOW };
    receiver.polling.note_received(now);
    let Some(count) = flow.pass(hsma, from, to, request, most) else { return SLOW };
    publish(from, to, sender.polling.is_polled());
    Attempt::Done(if from.send.has_known_entry() { Progress::Sent(count) } else { Progress::Drained })
}

#[inline(always)]
fn lhca<G: Guest>(lhcas: &[Option<Box<Lhca<G>>>], place: usize) -> Option<&Lhca<G>> {
    lhcas.get(place)?.as_deref()
}

/// Returns the next send request; the queue must not be empty.
#[inline(always)]
fn request(send: &Consumer<impl Ring>) -> Option<&Words> {
    send.entry().first_chunk()
}

/// Returns the address of a send request.
#[inline(always)]
fn address(request: &Words) -> Address {
    [load(&request[1]), load(&request[2])]
}

#[inline(always)]
fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

impl Flow {
    /// Passes the next datagram, that of `request`, and those behind it that belong to the flow, as long as the
    /// receiver has room and at most `most` together. Returns their number, or `None` if the first was not passed.
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
            hsma.pass(self.deferred, words);
            left -= 1;
            if !from.send.has_known_entry() || left == 0 {
                break;
            }
            request = self::request(&from.send)?;
            if address(request) != self.address {
                break;
            }
        }
        (left < most).then(|| most - left)
    }

    /// Passes one datagram and returns the length of its packet in words of four bytes, or `None` if it was not passed.
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

/// Publishes the ring indices of both partitions and interrupts them where they asked for it. If the queue is empty,
/// the sender must notify for its next request, unless it is polled.
#[inline(always)]
fn publish<G: Guest>(from: &QueuePair<G>, to: &QueuePair<G>, is_polled: bool) {
    let (sends, receives) = (&*from.completions.send, &*to.completions.receive);
    // A partition that sees a completion relies on the slot of its request, so that slot is published first.
    let is_last = !from.send.has_known_entry();
    if is_last && !is_polled {
        from.send.request_notification();
    }
    from.send.store();
    to.receive.store();
    receives.ring.store();
    sends.ring.store();
    fence(Ordering::SeqCst);
    if is_last {
        // An index that jumped is an error, which the slow path reports.
        let _ = from.send.refresh();
    }
    interrupt(&to.guest, to.config.vector, || to.receive.wants_notification());
    interrupt(&to.guest, receives.vector, || receives.ring.wants_notification());
    interrupt(&from.guest, from.config.vector, || from.send.wants_notification());
    interrupt(&from.guest, sends.vector, || sends.ring.wants_notification());
}

/// Resolves the flow to `address` and remembers it. Nothing is sent yet.
#[cold]
fn resolve<G: Guest>(
    hsma: &mut Hsma,
    lhcas: &mut [Option<Box<Lhca<G>>>],
    id: LhcaId,
    handle: u32,
    address: Address,
    epoch: RoutingEpoch,
) -> Progress {
    let index = usize::from(id.0);
    let Some(pair) = lhca(lhcas, index).and_then(|lhca| lhca.pairs.get(handle)) else { return Progress::SlowPath };
    let flow = fast_flow(hsma, lhcas, id, (handle, pair), address, epoch);
    let is_fast = flow.is_some();
    let pair = lhcas.get_mut(index).and_then(Option::as_mut).and_then(|lhca| lhca.pairs.get_mut(handle));
    if let Some(pair) = pair {
        pair.flows.set(flow.unwrap_or(Flow::slow(address, epoch)));
    }
    if is_fast { Progress::Sent(0) } else { Progress::SlowPath }
}

/// Returns the flow to `address`, if its datagrams may take the fast path.
fn fast_flow<G: Guest>(
    hsma: &mut Hsma,
    lhcas: &[Option<Box<Lhca<G>>>],
    id: LhcaId,
    (handle, from): (u32, &QueuePair<G>),
    address: Address,
    epoch: RoutingEpoch,
) -> Option<Flow> {
    let entry: SendEntry = transmute!([0, address[0], address[1], 0, 0, 0, 0, 0]);
    let plain = WorkFlags::IMMEDIATE.union(WorkFlags::SOLICITED).contains(entry.flags)
        && entry.segments == 1
        && entry.source_path == 0
        && entry.sl.get() <= 15;
    // The numbers of queue pairs 0 and 1 and of groups do not identify a queue pair.
    let to_handle =
        Some(entry.remote_qp).filter(|qp| !matches!(*qp, Qpn::SMI | Qpn::GSI | Qpn::MULTICAST)).map(handle_of)?;
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
    let to = receiver.pairs.get(to_handle)?;
    let q_key = if entry.q_key.get() >> 31 != 0 { from.q_key } else { entry.q_key };
    let takes = to.config.kind == QueuePairKind::UD && to.port() == path.port && to.receives() && to.q_key == q_key;
    let has_immediate = entry.flags.contains(WorkFlags::IMMEDIATE);
    let matches = key(target, path.port, to.p_key_index)?.matches(p_key);
    let received = Completion {
        kind: CompletionKind::RECEIVE,
        queue_pair: Handle(to_handle),
        flags: flags(entry.flags),
        sl: entry.sl,
        slid,
        p_key_index: to.p_key_index,
        source_qp: from.number(handle),
        destination_path: path_bits(entry.dlid, target.port_info(path.port)?.lmc()),
        ..Completion::default()
    };
    (takes && matches && slid.is_unicast()).then_some(Flow {
        address,
        epoch,
        receiver: path.lhca.0.into(),
        changes: receiver.changes,
        slot: receiver.pairs.index_of(to_handle)?,
        deferred: path.deferred,
        overhead: OVERHEAD + u64::from(has_immediate),
        immediate: if has_immediate { u64::MAX } else { 0 },
        mtu: path.mtu.into(),
        sender: handle.into(),
        received: transmute!(received),
    })
}

/// Returns the path bits of `dlid`: its lower `lmc` bits (4.1.3).
fn path_bits(dlid: Lid, lmc: u8) -> u8 {
    dlid.get().to_be_bytes()[1] & ((1 << lmc) - 1)
}

fn flags(sent: WorkFlags) -> CompletionFlags {
    let mut flags = CompletionFlags::empty();
    flags.set(CompletionFlags::IMMEDIATE, sent.contains(WorkFlags::IMMEDIATE));
    flags.set(CompletionFlags::SOLICITED, sent.contains(WorkFlags::SOLICITED));
    flags
}
