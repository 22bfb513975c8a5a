//! The logical fabric: the HSMA and the partitions behind it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use iba::Lid;
use iba::lrh::Lrh;
use lhca_contract::{Call, PortChange, Status};
use subnet::{AdapterConfig, AddError, Hsma, LhcaId, LogicalPort, Time};
use zerocopy::FromBytes;

use crate::calls;
use crate::fast_path::{self, Progress};
use crate::guest::Guest;
use crate::lhca::{Drops, Lhca, ObjectCounts};
use crate::outlet::{FabricOutlet, Wire};
use crate::send::{MAX_PACKET, Refusal, SendOutcome};
use crate::slots::Generation;
use partition_table::{Policy, Qp0Policy};

/// Most send requests that one queue pair has served in one turn, so that the others need not wait for it.
const BATCH: u32 = 64;

/// Outcome of a doorbell on the fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// All requests were passed.
    Done,
    /// All requests were passed, and [`LogicalFabric::serve`] must be called now, which had no partition to serve
    /// before.
    DoneAndPending,
    /// Requests are left, or the handle names no queue pair: [`LogicalFabric::call`] handles the doorbell.
    Unfinished,
}

/// The HSMA and the partitions behind it.
pub struct LogicalFabric<G: Guest> {
    hsma: Hsma,
    lhcas: Vec<Option<Box<Lhca<G>>>>,
    /// Generation of queue pairs with which the next partition of each LHCA starts: packets for its predecessor's queue
    /// pairs reach none of its own.
    generations: Vec<Generation>,
    buffer: Box<[u8; MAX_PACKET]>,
    undelivered: u64,
    refusal: Option<(LhcaId, Refusal)>,
    /// LHCAs with requests left over and LHCAs that are polled, in the order of their turns.
    pending: VecDeque<LhcaId>,
    polls: bool,
}

impl<G: Guest> LogicalFabric<G> {
    /// Creates the fabric of `hsma`, whose LHCAs have no partitions yet.
    #[must_use]
    pub fn new(hsma: Hsma) -> Self {
        let last = hsma.lhcas().map(|LhcaId(number)| number).max();
        let count = last.map_or(0, |last| usize::from(last) + 1);
        let lhcas = (0..count).map(|_| None).collect();
        let generations = alloc::vec![Generation::FIRST; count];
        let pending = VecDeque::with_capacity(count);
        let buffer = Box::new([0; MAX_PACKET]);
        Self { hsma, lhcas, generations, buffer, undelivered: 0, refusal: None, pending, polls: false }
    }

    /// Turns adaptive polling on, which is off at first. From then on a processor of its own must call
    /// [`LogicalFabric::serve`] without a pause.
    pub fn start_polling(&mut self) {
        self.polls = true;
    }

    /// Returns the HSMA.
    #[must_use]
    pub fn hsma(&self) -> &Hsma {
        &self.hsma
    }

    /// Returns the HSMA and the outlet for calls of it, which delivers packets to the partitions.
    pub fn split<'a, W: Wire>(&'a mut self, now: Time, wire: &'a mut W) -> (&'a mut Hsma, FabricOutlet<'a, W, G>) {
        let Self { hsma, lhcas, undelivered, .. } = self;
        (hsma, FabricOutlet { now, wire, lhcas, undelivered })
    }

    /// Returns the number of packets for LHCAs without a partition.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        self.undelivered
    }

    /// Takes the last management packet that the policy refused since the last call.
    pub fn take_refusal(&mut self) -> Option<(LhcaId, Refusal)> {
        self.refusal.take()
    }

    /// Returns the packets that an LHCA dropped, by reason, if it has a partition.
    #[must_use]
    pub fn drops(&self, id: LhcaId) -> Option<Drops> {
        self.lhcas.get(usize::from(id.0))?.as_ref().map(|lhca| lhca.drops)
    }

    /// Adds an LHCA at `places`, without a partition and not plugged in.
    ///
    /// # Errors
    /// As [`Hsma::add`].
    pub fn add(&mut self, config: &AdapterConfig, places: &[LogicalPort]) -> Result<LhcaId, AddError> {
        let id = self.hsma.add(config, places)?;
        let count = self.lhcas.len().max(usize::from(id.0) + 1);
        self.lhcas.resize_with(count, || None);
        self.generations.resize(count, Generation::FIRST);
        self.pending.reserve(count - self.pending.len());
        Ok(id)
    }

    /// Removes an LHCA. Another LHCA may get its number later.
    pub fn remove(&mut self, now: Time, id: LhcaId, wire: &mut impl Wire) {
        self.detach(now, id, wire);
        let (hsma, mut out) = self.split(now, wire);
        hsma.remove(now, id, &mut out);
    }

    /// Counts the objects of the partition that has the LHCA `id`.
    #[must_use]
    pub fn objects_of(&self, id: LhcaId) -> ObjectCounts {
        let lhca = self.lhcas.get(usize::from(id.0)).and_then(Option::as_deref);
        lhca.map(Lhca::objects).unwrap_or_default()
    }

    /// Counts the objects of all partitions.
    #[must_use]
    pub fn objects(&self) -> ObjectCounts {
        let counts = self.lhcas.iter().flatten().map(|lhca| lhca.objects());
        counts.fold(ObjectCounts::default(), ObjectCounts::plus)
    }

    /// Binds an LHCA to a partition that starts, and plugs it in.
    pub fn attach(&mut self, now: Time, id: LhcaId, guest: G, policy: Policy, wire: &mut impl Wire) {
        let index = usize::from(id.0);
        if let (Some(place), Some(&first)) = (self.lhcas.get_mut(index), self.generations.get(index)) {
            *place = Some(Box::new(Lhca::new(guest, policy, first)));
            let (hsma, mut out) = self.split(now, wire);
            hsma.plug(now, id, &mut out);
        }
    }

    /// Unbinds an LHCA from a partition that ended: unplugs it and destroys its objects. Returns the partition's side.
    pub fn detach(&mut self, now: Time, id: LhcaId, wire: &mut impl Wire) -> Option<G> {
        let index = usize::from(id.0);
        let lhca = self.lhcas.get_mut(index)?.take()?;
        if let Some(next) = self.generations.get_mut(index) {
            *next = lhca.pairs.unused();
        }
        self.pending.retain(|pending| *pending != id);
        let (hsma, mut out) = self.split(now, wire);
        for port in 1..=hsma.lhca(id).map_or(0, |adapter| adapter.node_info().num_ports) {
            hsma.set_is_sm(now, id, port.into(), false, &mut out);
        }
        hsma.unplug(now, id, &mut out);
        Some(lhca.guest)
    }

    /// Handles a doorbell for the queue pair `handle` as far as the fast path can: passes its requests to other
    /// partitions.
    #[inline(always)]
    pub fn pass(&mut self, now: Time, id: LhcaId, handle: u64) -> Doorbell {
        let Ok(handle) = u32::try_from(handle) else { return Doorbell::Unfinished };
        let progress = fast_path::pass(&mut self.hsma, &mut self.lhcas, now, id, handle, BATCH);
        if !matches!(progress, Progress::Drained) {
            return Doorbell::Unfinished;
        }
        let had_pending = !self.polls || self.has_pending();
        self.note_notification(now, id);
        if !had_pending && self.has_pending() { Doorbell::DoneAndPending } else { Doorbell::Done }
    }

    /// Executes a partition's hypercall and returns its value.
    ///
    /// # Errors
    /// The status that the partition gets.
    pub fn call(
        &mut self,
        now: Time,
        id: LhcaId,
        call: Call,
        arguments: [u64; 3],
        wire: &mut impl Wire,
    ) -> Result<u64, Status> {
        let lhca = self.lhcas.get_mut(usize::from(id.0)).and_then(Option::as_mut).ok_or(Status::UNKNOWN_CALL)?;
        let adapter = self.hsma.lhca(id).ok_or(Status::UNKNOWN_CALL)?;
        match call {
            Call::DOORBELL => self.handle_doorbell(now, id, arguments[0], wire),
            Call::MODIFY_PORT => self.modify_port(now, id, arguments, wire),
            Call::MODIFY_QUEUE_PAIR => {
                let value = lhca.call(call, arguments, adapter)?;
                self.handle_doorbell(now, id, arguments[0], wire).map(|_| value)
            }
            _ => lhca.call(call, arguments, adapter),
        }
    }

    /// Serves the next pending partition. Returns `true` if partitions are pending after that.
    pub fn serve(&mut self, now: Time, wire: &mut impl Wire) -> bool {
        let Some(id) = self.pending.pop_front() else { return false };
        if let Some(lhca) = self.lhca_mut(id) {
            lhca.is_pending = false;
            let has_requests = self.serve_all(now, id, wire);
            self.continue_polling(now, id, has_requests, wire);
        }
        self.has_pending()
    }

    /// Returns `true` if a partition has requests left over, or is polled.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    fn continue_polling(&mut self, now: Time, id: LhcaId, has_requests: bool, wire: &mut impl Wire) {
        let Some(lhca) = self.lhca_mut(id).filter(|lhca| lhca.polling.is_polled()) else { return };
        lhca.polling.note_poll(now, has_requests);
        if lhca.polling.is_polled() {
            self.set_pending(id);
        } else {
            self.serve_all(now, id, wire); // which makes it notify again
        }
    }

    fn set_pending(&mut self, id: LhcaId) {
        if let Some(lhca) = self.lhca_mut(id)
            && !core::mem::replace(&mut lhca.is_pending, true)
        {
            self.pending.push_back(id);
        }
    }

    fn lhca_mut(&mut self, id: LhcaId) -> Option<&mut Lhca<G>> {
        self.lhcas.get_mut(usize::from(id.0))?.as_deref_mut()
    }

    /// Handles a doorbell for one of a partition's objects.
    fn handle_doorbell(&mut self, now: Time, id: LhcaId, handle: u64, wire: &mut impl Wire) -> Result<u64, Status> {
        let handle = u32::try_from(handle).map_err(|_| Status::BAD_HANDLE)?;
        let lhca = self.lhca_mut(id).ok_or(Status::BAD_HANDLE)?;
        if lhca.pairs.get(handle).is_some() {
            self.note_notification(now, id);
            self.serve_pair(now, id, handle, wire);
        } else if lhca.completion_queues.get(handle).is_some() {
            self.serve_all(now, id, wire); // queue pairs that waited for room there
        } else if lhca.event_queues.get(handle).is_some() {
            lhca.report_overrun(now.0);
        } else {
            return Err(Status::BAD_HANDLE);
        }
        Ok(0)
    }

    /// Notes a partition's doorbell for a queue pair, after which the partition may be polled.
    #[inline(always)]
    fn note_notification(&mut self, now: Time, id: LhcaId) {
        if self.polls && self.lhca_mut(id).is_some_and(|lhca| lhca.polling.note_notification(now)) {
            self.set_pending(id);
        }
    }

    /// Serves the send requests of all queue pairs of a partition. Returns `true` if there were any.
    fn serve_all(&mut self, now: Time, id: LhcaId, wire: &mut impl Wire) -> bool {
        let mut has_requests = false;
        let places = self.lhca_mut(id).map_or(0..0, |lhca| lhca.pairs.indices());
        for place in places {
            if let Some(handle) = self.lhca_mut(id).and_then(|lhca| lhca.pairs.handle_at(place)) {
                has_requests |= self.serve_pair(now, id, handle, wire);
            }
        }
        has_requests
    }

    /// Serves the send requests of a queue pair. Returns `true` if there were any.
    fn serve_pair(&mut self, now: Time, id: LhcaId, handle: u32, wire: &mut impl Wire) -> bool {
        let mut served = 0;
        while served < BATCH {
            match fast_path::pass(&mut self.hsma, &mut self.lhcas, now, id, handle, BATCH - served) {
                Progress::Drained => return true,
                Progress::Sent(count) => served += count,
                Progress::SlowPath if self.send_next(now, id, handle, wire) => served += 1,
                Progress::SlowPath => return served > 0,
            }
        }
        self.set_pending(id);
        true
    }

    /// Serves the next send request of a queue pair on the slow path. Returns `true` if there was one.
    #[cold]
    fn send_next(&mut self, now: Time, id: LhcaId, handle: u32, wire: &mut impl Wire) -> bool {
        let Some(Some(lhca)) = self.lhcas.get_mut(usize::from(id.0)) else { return false };
        let Some(adapter) = self.hsma.lhca(id) else { return false };
        match lhca.send_next(now, handle, adapter, &mut self.buffer) {
            SendOutcome::Empty => return false,
            SendOutcome::Completed => {}
            SendOutcome::Refused(refusal) => self.refusal = Some((id, refusal)),
            SendOutcome::Packet(port, length) => {
                let packet = &mut self.buffer[..length];
                let Self { hsma, lhcas, undelivered, .. } = self;
                if is_multicast(packet)
                    && let Some(Some(lhca)) = lhcas.get_mut(usize::from(id.0))
                    && let Some(adapter) = hsma.lhca(id)
                {
                    // The switch never returns a packet to the port that it came from.
                    let _ = lhca.receive(adapter, port, packet);
                }
                hsma.send(now, id, port, packet, &mut FabricOutlet { now, wire, lhcas, undelivered });
            }
        }
        true
    }

    fn modify_port(
        &mut self,
        now: Time,
        id: LhcaId,
        [port, change, value]: [u64; 3],
        wire: &mut impl Wire,
    ) -> Result<u64, Status> {
        let adapter = self.hsma.lhca(id).ok_or(Status::BAD_PORT)?;
        let port = calls::number(adapter, port)?;
        let may_manage = self.lhca_mut(id).is_some_and(|lhca| lhca.gate.policy.qp0 == Qp0Policy::Manager);
        let (hsma, mut out) = self.split(now, wire);
        match (PortChange(change), value) {
            (PortChange::IS_SM, _) if !may_manage => return Err(Status::NOT_PERMITTED),
            (PortChange::IS_SM, 0 | 1) => hsma.set_is_sm(now, id, port, value == 1, &mut out),
            (PortChange::RESET_Q_KEY_VIOLATIONS, 0) => hsma.reset_q_key_violations(id, port),
            _ => return Err(Status::BAD_ARGUMENT),
        }
        Ok(0)
    }
}

fn is_multicast(packet: &[u8]) -> bool {
    Lrh::ref_from_prefix(packet).is_ok_and(|(lrh, _)| Lid::is_multicast(lrh.dlid))
}
