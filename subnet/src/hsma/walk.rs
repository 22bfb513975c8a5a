//! How packets walk from member to member, and what the members do of themselves.

use iba::PortNum;
use iba::attr::PortPhysicalState;
use iba::packet::SmpPacket;

use super::member::{At, Member, Wire};
use super::{Hsma, HsmaOutlet, LhcaId};
use crate::body::{Body, Chore, Verdict};
use crate::outlet::Link;
use crate::time::Time;

/// Members that have something to do now: as many as one packet visits. If there are ever more, all members are asked.
#[derive(Debug, Default)]
pub(super) struct Due([Option<u16>; 4]);

impl Due {
    /// Takes in a member; false if there is no room.
    fn push(&mut self, member: u16) -> bool {
        if self.0.contains(&Some(member)) {
            return true;
        }
        let free = self.0.iter_mut().find(|place| place.is_none());
        free.map(|place| *place = Some(member)).is_some()
    }

    fn pop(&mut self) -> Option<u16> {
        self.0.iter_mut().find_map(Option::take)
    }
}

impl Hsma {
    /// Does what is due, and says when to come again if nothing else calls before; `None` means never.
    pub fn poll(&mut self, now: Time, out: &mut impl HsmaOutlet) -> Option<Time> {
        loop {
            while let Some(member) = self.due.pop() {
                self.do_chores(now, member, out);
            }
            if now < self.deadline {
                return Some(self.deadline).filter(|&deadline| deadline != Time::NEVER);
            }
            self.deadline = Time::NEVER;
            for member in (0..).take(self.members.len()) {
                self.do_chores(now, member, out);
            }
        }
    }

    /// Notes when a member that something happened to has something to do.
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

    /// Makes the link at `one` what its ends allow: up if both are plugged in and neither is switched off.
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

    /// PortInfo of a port that a link may come up at.
    fn offered(&mut self, at: At) -> Option<iba::attr::PortInfo> {
        let member = self.member_mut(at.member).filter(|member| member.plugged)?;
        let info = &member.node.body().port(at.port)?.info;
        Some(*info).filter(|info| info.physical_state() != PortPhysicalState::DISABLED)
    }

    /// Lets a packet that came to a port walk from member to member.
    ///
    /// A member hands a packet on or answers it, and none answers an answer, so that the walk ends.
    pub(super) fn walk(&mut self, now: Time, at: At, packet: &mut [u8], out: &mut impl HsmaOutlet) {
        let Some(body) = self.body_mut(at.member) else { return };
        let verdict = body.receive(now, at.port, packet);
        self.carry_out(now, at, verdict, packet, out);
    }

    /// Lets a packet that a member has dealt with walk on.
    pub(super) fn carry_out(
        &mut self,
        now: Time,
        mut at: At,
        mut verdict: Verdict,
        packet: &mut [u8],
        out: &mut impl HsmaOutlet,
    ) {
        loop {
            self.note(now, at.member);
            match verdict {
                Verdict::Done => return,
                Verdict::Transmit(port) => match self.wired(At { port, ..at }) {
                    Wire::Nowhere => return,
                    Wire::Uplink(uplink) => return out.transmit(uplink, packet),
                    Wire::To(next) => at = next,
                },
                Verdict::Deliver(port) => {
                    // The logical switches have no consumers.
                    return if let Some(lhca) = self.lhca_of(at.member) {
                        out.deliver(lhca, port, packet)
                    };
                }
                Verdict::Multicast => return self.replicate(now, at, packet, out),
            }
            let Some(body) = self.body_mut(at.member) else { return };
            verdict = body.receive(now, at.port, packet);
        }
    }

    /// Lets a multicast packet that came to a logical switch walk on to each port of its group. From there it goes out, or
    /// to consumers.
    fn replicate(&mut self, now: Time, at: At, packet: &mut [u8], out: &mut impl HsmaOutlet) {
        let Some(body) = self.body_mut(at.member) else { return };
        for port in body.group(at.port, packet) {
            let Some(body) = self.body_mut(at.member) else { return };
            let verdict = body.leave_with_data(now, at.port, port, packet);
            match self.wired(At { port, ..at }) {
                _ if verdict == Verdict::Done => {}
                Wire::Nowhere => {}
                Wire::Uplink(uplink) => out.transmit(uplink, packet),
                Wire::To(next) => self.walk(now, next, packet, out),
            }
        }
    }

    #[inline]
    fn wired(&self, at: At) -> Wire {
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

    /// The LHCA that a member is, if it is one.
    #[inline]
    fn lhca_of(&self, number: u16) -> Option<LhcaId> {
        usize::from(number).checked_sub(self.switches).and_then(|lhca| u16::try_from(lhca).ok()).map(LhcaId)
    }
}
