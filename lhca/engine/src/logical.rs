//! The HSMA and the partitions behind it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use iba::Lid;
use iba::lrh::Lrh;
use lhca_contract::{Call, PortChange, Status};
use subnet::{AdapterConfig, AddError, Hsma, LhcaId, LogicalPort, Time};
use zerocopy::FromBytes;

use crate::direct::Passed;
use crate::guest::Guest;
use crate::lhca::{Counts, Held, Lhca};
use crate::outlet::{Joined, Wire};
use crate::send::{MAX_PACKET, Refusal, Taken};
use crate::slots::Generation;
use crate::{calls, direct};
use partition_table::{Policy, Qp0Policy};

/// Send requests that one queue pair may have served at once: whoever posts many must not keep the others waiting.
const BATCH: u32 = 64;

/// The HSMA and the partitions behind it.
pub struct Logical<G: Guest> {
    hsma: Hsma,
    lhcas: Vec<Option<Box<Lhca<G>>>>,
    /// With which generation of queue pairs the next partition of each LHCA begins, so that nothing that was meant for its
    /// predecessor reaches it.
    generations: Vec<Generation>,
    buffer: Box<[u8; MAX_PACKET]>,
    undelivered: u64,
    refusal: Option<(LhcaId, Refusal)>,
    /// Whose turn it is to be served, of those that were left for later or are watched.
    busy: VecDeque<LhcaId>,
    watches: bool,
}

impl<G: Guest> Logical<G> {
    /// The HSMA with its LHCAs, none of which has a partition yet.
    #[must_use]
    pub fn new(hsma: Hsma) -> Self {
        let last = hsma.lhcas().map(|LhcaId(number)| number).max();
        let count = last.map_or(0, |last| usize::from(last) + 1);
        let lhcas = (0..count).map(|_| None).collect();
        let generations = alloc::vec![Generation::FIRST; count];
        let busy = VecDeque::with_capacity(count);
        let buffer = Box::new([0; MAX_PACKET]);
        Self { hsma, lhcas, generations, buffer, undelivered: 0, refusal: None, busy, watches: false }
    }

    /// Whether partitions that ring again and again are watched instead: [`Logical::serve`] is to be called without a pause
    /// then, by a processor that has nothing better to do. At first they are not.
    pub fn watch(&mut self, watches: bool) {
        self.watches = watches;
    }

    /// The HSMA, to look at.
    #[must_use]
    pub fn hsma(&self) -> &Hsma {
        &self.hsma
    }

    /// The HSMA, and the outlet that it is to be called with: what it delivers goes to the partitions.
    pub fn split<'a, W: Wire>(&'a mut self, now: Time, wire: &'a mut W) -> (&'a mut Hsma, Joined<'a, W, G>) {
        let Self { hsma, lhcas, undelivered, .. } = self;
        (hsma, Joined { now, wire, lhcas, undelivered })
    }

    /// Packets for an LHCA that has no partition.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        self.undelivered
    }

    /// The last management packet that a partition was not allowed to send since this was asked.
    pub fn take_refusal(&mut self) -> Option<(LhcaId, Refusal)> {
        self.refusal.take()
    }

    /// What came to nothing at an LHCA that has a partition.
    #[must_use]
    pub fn counts(&self, id: LhcaId) -> Option<Counts> {
        self.lhcas.get(usize::from(id.0))?.as_ref().map(|lhca| lhca.counts)
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
        self.busy.reserve(count - self.busy.len());
        Ok(id)
    }

    /// Takes an LHCA away. Its number may be another's later.
    pub fn remove(&mut self, now: Time, id: LhcaId, wire: &mut impl Wire) {
        self.detach(now, id, wire);
        let (hsma, mut out) = self.split(now, wire);
        hsma.remove(now, id, &mut out);
    }

    /// What all partitions hold, or the one that has a certain LHCA.
    #[must_use]
    pub fn held(&self, of: Option<LhcaId>) -> Held {
        let wanted = (0..).map(LhcaId).zip(&self.lhcas).filter(|&(id, _)| of.is_none_or(|of| of == id));
        wanted.filter_map(|(_, lhca)| lhca.as_deref()).map(Lhca::held).fold(Held::default(), Held::plus)
    }

    /// Gives an LHCA to a partition that begins, and plugs it in.
    pub fn attach(&mut self, now: Time, id: LhcaId, guest: G, policy: Policy, wire: &mut impl Wire) {
        let index = usize::from(id.0);
        if let (Some(place), Some(&first)) = (self.lhcas.get_mut(index), self.generations.get(index)) {
            *place = Some(Box::new(Lhca::new(guest, policy, first)));
            let (hsma, mut out) = self.split(now, wire);
            hsma.plug(now, id, &mut out);
        }
    }

    /// Takes an LHCA from a partition that ended: unplugs it, and forgets all that was created. Gives the partition back.
    pub fn detach(&mut self, now: Time, id: LhcaId, wire: &mut impl Wire) -> Option<G> {
        let index = usize::from(id.0);
        let lhca = self.lhcas.get_mut(index)?.take()?;
        if let Some(next) = self.generations.get_mut(index) {
            *next = lhca.pairs.unused();
        }
        self.busy.retain(|busy| *busy != id);
        let (hsma, mut out) = self.split(now, wire);
        for port in 1..=hsma.lhca(id).map_or(0, |adapter| adapter.node_info().num_ports) {
            hsma.set_is_sm(now, id, port.into(), false, &mut out);
        }
        hsma.unplug(now, id, &mut out);
        Some(lhca.guest)
    }

    /// A partition rings: takes all that is posted to the queue pair `handle` the short way, to other partitions. Whether
    /// somebody [is to be served](Self::is_busy) who was not before. If there is more to do, that is for [`Self::call`].
    #[inline(always)]
    pub fn pass(&mut self, now: Time, id: LhcaId, handle: u64) -> Option<bool> {
        let name = u32::try_from(handle).ok()?;
        let passed = direct::pass(&mut self.hsma, &mut self.lhcas, now, id, name, BATCH);
        matches!(passed, Passed::All).then(|| {
            let was_busy = !self.watches || self.is_busy();
            self.heed_pace(now, id);
            !was_busy && self.is_busy()
        })
    }

    /// Does what a partition's hypercall asks for; its value.
    ///
    /// # Errors
    /// What the partition is told.
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
            Call::DOORBELL => self.ring(now, id, arguments[0], wire),
            Call::MODIFY_PORT => self.modify_port(now, id, arguments, wire),
            Call::MODIFY_QUEUE_PAIR => {
                let value = lhca.call(call, arguments, adapter)?;
                self.ring(now, id, arguments[0], wire).map(|_| value)
            }
            _ => lhca.call(call, arguments, adapter),
        }
    }

    /// Serves one partition of those that were left for later or are watched; another one the next time. Whether there is
    /// more to do.
    pub fn serve(&mut self, now: Time, wire: &mut impl Wire) -> bool {
        let Some(id) = self.busy.pop_front() else { return false };
        if let Some(lhca) = self.lhca_mut(id) {
            lhca.busy = false;
            let posted = self.serve_all(now, id, wire);
            self.go_on_watching(now, id, posted, wire);
        }
        self.is_busy()
    }

    /// Whether somebody was left for later, or is watched.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    fn go_on_watching(&mut self, now: Time, id: LhcaId, posted: bool, wire: &mut impl Wire) {
        let Some(lhca) = self.lhca_mut(id).filter(|lhca| lhca.pace.is_watched()) else { return };
        lhca.pace.seen(now, posted);
        if lhca.pace.is_watched() {
            self.leave_for_later(id);
        } else {
            self.serve_all(now, id, wire); // which asks it to ring again
        }
    }

    fn leave_for_later(&mut self, id: LhcaId) {
        if let Some(lhca) = self.lhca_mut(id)
            && !core::mem::replace(&mut lhca.busy, true)
        {
            self.busy.push_back(id);
        }
    }

    fn lhca_mut(&mut self, id: LhcaId) -> Option<&mut Lhca<G>> {
        self.lhcas.get_mut(usize::from(id.0))?.as_deref_mut()
    }

    /// A partition rings for one of its objects.
    fn ring(&mut self, now: Time, id: LhcaId, handle: u64, wire: &mut impl Wire) -> Result<u64, Status> {
        let name = u32::try_from(handle).map_err(|_| Status::BAD_HANDLE)?;
        let lhca = self.lhca_mut(id).ok_or(Status::BAD_HANDLE)?;
        if lhca.pairs.get(name).is_some() {
            self.heed_pace(now, id);
            self.serve_pair(now, id, name, wire);
        } else if lhca.completion_queues.get(name).is_some() {
            self.serve_all(now, id, wire); // whoever waited for room there
        } else if lhca.event_queues.get(name).is_some() {
            lhca.tell_overrun(now.0);
        } else {
            return Err(Status::BAD_HANDLE);
        }
        Ok(0)
    }

    /// A partition rang for a queue pair: if it does so again and again it is watched from now on.
    #[inline(always)]
    fn heed_pace(&mut self, now: Time, id: LhcaId) {
        if self.watches && self.lhca_mut(id).is_some_and(|lhca| lhca.pace.rings(now)) {
            self.leave_for_later(id);
        }
    }

    /// Serves what is posted to all queue pairs of a partition. Whether there was anything.
    fn serve_all(&mut self, now: Time, id: LhcaId, wire: &mut impl Wire) -> bool {
        let mut posted = false;
        let places = self.lhca_mut(id).map_or(0..0, |lhca| lhca.pairs.places());
        for place in places {
            if let Some(name) = self.lhca_mut(id).and_then(|lhca| lhca.pairs.name_at(place)) {
                posted |= self.serve_pair(now, id, name, wire);
            }
        }
        posted
    }

    /// Serves what is posted to a queue pair. Whether there was anything.
    fn serve_pair(&mut self, now: Time, id: LhcaId, name: u32, wire: &mut impl Wire) -> bool {
        let mut served = 0;
        while served < BATCH {
            match direct::pass(&mut self.hsma, &mut self.lhcas, now, id, name, BATCH - served) {
                Passed::All => return true,
                Passed::Some(count) => served += count,
                Passed::None if self.serve_one(now, id, name, wire) => served += 1,
                Passed::None => return served > 0,
            }
        }
        self.leave_for_later(id);
        true
    }

    /// Serves the next send request of a queue pair, by the long way. Whether there was one.
    #[cold]
    fn serve_one(&mut self, now: Time, id: LhcaId, name: u32, wire: &mut impl Wire) -> bool {
        let Some(Some(lhca)) = self.lhcas.get_mut(usize::from(id.0)) else { return false };
        let Some(adapter) = self.hsma.lhca(id) else { return false };
        match lhca.take_send(now, name, adapter, &mut self.buffer) {
            Taken::Nothing => return false,
            Taken::Failed => {}
            Taken::Refused(refusal) => self.refusal = Some((id, refusal)),
            Taken::Packet(port, length) => {
                let packet = &mut self.buffer[..length];
                let Self { hsma, lhcas, undelivered, .. } = self;
                if is_multicast(packet)
                    && let Some(Some(lhca)) = lhcas.get_mut(usize::from(id.0))
                    && let Some(adapter) = hsma.lhca(id)
                {
                    // The switch does not send it back to where it came from.
                    let _ = lhca.receive(adapter, port, packet);
                }
                hsma.send(now, id, port, packet, &mut Joined { now, wire, lhcas, undelivered });
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
