//! The way of packets from member to member, and the members' own work.

use iba::PortNum;
use iba::attr::{PortInfo, PortPhysicalState};
use iba::lrh::Lrh;
use iba::packet::SmpPacket;
use zerocopy::FromBytes;

use super::agent::Hsma;
use super::member::{At, Member, Wire};
use super::qp0::Exit;
use super::types::{HsmaOutlet, LhcaId};
use crate::body::{Body, Chore, Verdict};
use crate::node::Node;
use crate::outlet::Link;
use crate::time::Time;

impl Hsma {
    /// Does the work that is due. Returns the time of the next call, `None` for never.
    #[inline]
    pub fn poll(&mut self, now: Time, out: &mut impl HsmaOutlet) -> Option<Time> {
        if !self.is_idle(now) {
            self.do_due(now, out);
        }
        Some(self.deadline).filter(|&deadline| deadline != Time::NEVER)
    }

    /// Returns `true` if no work is due.
    #[inline]
    pub(super) fn is_idle(&self, now: Time) -> bool {
        self.due.is_empty() && now < self.deadline
    }

    #[cold]
    fn do_due(&mut self, now: Time, out: &mut impl HsmaOutlet) {
        self.apply_deferred();
        self.epoch += 1;
        loop {
            while let Some(member) = self.due.pop() {
                self.do_chores(now, member, out);
            }
            if now < self.deadline {
                return;
            }
            self.deadline = Time::NEVER;
            for member in (0..).take(self.members.len()) {
                self.do_chores(now, member, out);
            }
        }
    }

    /// Notes the next work of a member after an event.
    pub(super) fn note(&mut self, now: Time, member: u16) {
        let Some(body) = self.body_mut(member) else { return };
        let deadline = body.deadline;
        if now < deadline || !self.due.push(member) {
            self.deadline = self.deadline.min(deadline);
        }
    }

    fn do_chores(&mut self, now: Time, member: u16, out: &mut impl HsmaOutlet) {
        let mut packet = [0; size_of::<SmpPacket>()];
        while let Some(chore) = self.body_mut(member).and_then(|body| body.chore(now, &mut packet)) {
            match chore {
                Chore::Trap(verdict) => {
                    self.carry_out(now, At { member, port: PortNum::MANAGEMENT }, verdict, &mut packet, out);
                }
                Chore::Event(port, event) => {
                    if let Some(lhca) = self.lhca_of(member) {
                        out.event(lhca, port, event);
                    }
                }
                Chore::Link(port, request) => match self.wired(At { member, port }) {
                    Wire::Nowhere => {}
                    Wire::Uplink(uplink) => out.link(uplink, request),
                    Wire::To(other) => self.retrain(now, At { member, port }, other),
                },
            }
        }
        self.note(now, member);
    }

    /// Takes a link between two members down, and up again if it may be.
    fn retrain(&mut self, now: Time, one: At, other: At) {
        for end in [one, other] {
            if let Some(body) = self.body_mut(end.member) {
                body.link_down(now, end.port);
            }
        }
        self.settle(now, one);
    }

    /// Sets the link at `one` up if both ends are plugged in and neither is disabled, else down.
    pub(super) fn settle(&mut self, now: Time, one: At) {
        let Wire::To(other) = self.wired(one) else { return };
        let ends = self.offered(one).zip(self.offered(other));
        let link = ends.and_then(|(one, other)| Link::between(&one, &other));
        for end in [one, other] {
            if let Some(body) = self.body_mut(end.member) {
                match link {
                    Some(link) => body.link_up(now, end.port, link),
                    None => body.link_down(now, end.port),
                }
            }
            self.note(now, end.member);
        }
    }

    /// Returns PortInfo of a port whose link may come up.
    fn offered(&mut self, at: At) -> Option<PortInfo> {
        let member = self.member_mut(at.member).filter(|member| member.plugged)?;
        let info = &member.node.body().port(at.port)?.info;
        Some(*info).filter(|info| info.physical_state() != PortPhysicalState::DISABLED)
    }

    /// Passes a packet that came to a port from member to member.
    ///
    /// A member hands a packet on or answers it, and none answers an answer, so that the walk ends.
    pub(super) fn walk(&mut self, now: Time, at: At, packet: &mut [u8], out: &mut impl HsmaOutlet) -> Exit {
        self.walk_from(now, at, |body, packet| body.receive(now, at.port, packet), packet, out)
    }

    /// Passes on a packet after a member's verdict.
    pub(super) fn carry_out(
        &mut self,
        now: Time,
        at: At,
        verdict: Verdict,
        packet: &mut [u8],
        out: &mut impl HsmaOutlet,
    ) {
        self.walk_from(now, at, |_, _| verdict, packet, out);
    }

    /// Passes a packet on from a member, whose verdict `first` returns.
    #[inline(always)]
    pub(super) fn walk_from(
        &mut self,
        now: Time,
        mut at: At,
        first: impl FnOnce(&mut Body, &mut [u8]) -> Verdict,
        packet: &mut [u8],
        out: &mut impl HsmaOutlet,
    ) -> Exit {
        let Some(member) = self.member_mut(at.member) else { return Exit::Inside };
        let mut verdict = first(member.node.body_mut(), packet);
        loop {
            let Some(member) = self.member_mut(at.member) else { return Exit::Inside };
            let deadline = member.node.body().deadline;
            let wire = if let Verdict::Transmit(port) = verdict { member.wired(port) } else { Wire::Nowhere };
            if deadline < self.deadline {
                self.note(now, at.member);
            }
            match (verdict, wire) {
                (_, Wire::To(next)) => at = next,
                (_, Wire::Uplink(uplink)) => {
                    out.transmit(uplink, packet);
                    return Exit::Uplink(uplink);
                }
                (Verdict::Deliver(port), _) => {
                    self.deliver(now, At { port, ..at }, packet, out);
                    return Exit::Consumer;
                }
                (Verdict::Multicast, _) => {
                    self.replicate(now, at, packet, out);
                    return Exit::Inside;
                }
                (Verdict::Done | Verdict::Transmit(_), Wire::Nowhere) => return Exit::Inside,
            }
            let Some(member) = self.member_mut(at.member) else { return Exit::Inside };
            verdict = member.node.body_mut().receive(now, at.port, packet);
        }
    }

    /// Delivers a packet to the consumers at a port of an LHCA; the logical switches have none.
    fn deliver(&mut self, now: Time, at: At, packet: &[u8], out: &mut impl HsmaOutlet) {
        let Some(lhca) = self.lhca_of(at.member) else { return };
        let Some(Member { node: Node::ChannelAdapter(adapter), .. }) = self.member_mut(at.member) else { return };
        if let Err(key) = out.deliver(lhca, adapter, at.port, packet) {
            adapter.body_mut().refused(now, at.port, key, packet);
            self.note(now, at.member);
        }
    }

    /// Passes a multicast packet that came to a logical switch on to each port of its group.
    fn replicate(&mut self, now: Time, at: At, packet: &mut [u8], out: &mut impl HsmaOutlet) {
        let Ok((&lrh, _)) = Lrh::ref_from_prefix(packet) else { return };
        let Some(body) = self.body_mut(at.member) else { return };
        for port in body.group(at.port, &lrh) {
            let Some(body) = self.body_mut(at.member) else { return };
            if body.leave_with_data(now, at.port, port, lrh, packet) == Verdict::Done {
                continue;
            }
            match self.wired(At { port, ..at }) {
                Wire::Nowhere => {}
                Wire::Uplink(uplink) => out.transmit(uplink, packet),
                Wire::To(next) => {
                    self.walk(now, next, packet, out);
                }
            }
        }
    }

    #[inline]
    pub(super) fn wired(&self, at: At) -> Wire {
        self.members
            .get(usize::from(at.member))
            .and_then(Option::as_ref)
            .map_or(Wire::Nowhere, |member| member.wired(at.port))
    }

    #[inline]
    pub(super) fn member_mut(&mut self, number: u16) -> Option<&mut Member> {
        self.members.get_mut(usize::from(number)).and_then(Option::as_mut)
    }

    #[inline]
    pub(super) fn body_mut(&mut self, number: u16) -> Option<&mut Body> {
        self.member_mut(number).map(|member| member.node.body_mut())
    }

    /// Returns the LHCA that a member is, if it is one.
    #[inline]
    pub(super) fn lhca_of(&self, number: u16) -> Option<LhcaId> {
        usize::from(number).checked_sub(self.switches).and_then(|lhca| u16::try_from(lhca).ok()).map(LhcaId)
    }
}
