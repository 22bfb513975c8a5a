//! The subnet management agent (SMA) (14.2).

use iba::attr::CapabilityMask;
use iba::lrh::Lrh;
use iba::mad::{Class, MadHeader, Method, Status};
use iba::notice::{BadMKey, Notice, TrapNumber};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Lid, MKey, PortNum, TransactionId};
use zerocopy::IntoBytes;

use crate::body::{Body, Verdict};
use crate::directed::{self, NodeKind, Origin, Step};
use crate::dispatch::{Action, SubnetAttribute, classify};
use crate::time::Time;
use core::time::Duration;

/// Outcome of a datagram at the agent.
enum Outcome {
    /// The SMP holds the response; its return route is not set yet.
    Answer,
    /// The datagram is for the consumers at the port.
    Deliver,
    /// Discard the datagram.
    Drop,
}

impl Body {
    /// Deals with a management packet from the link at `number`.
    pub(crate) fn receive_smp(&mut self, now: Time, number: PortNum, packet: &mut SmpPacket) -> Verdict {
        let dlid = packet.header.lrh.dlid;
        if dlid == Lid::PERMISSIVE {
            self.manage(now, Origin::Link(number), packet)
        } else if self.ports[self.index(self.end_of(number))].has_lid(dlid) {
            self.manage(now, Origin::Lid(number), packet)
        } else if self.kind == NodeKind::Switch {
            self.pass_on(number, &packet.header.lrh)
        } else {
            self.drop_at(number)
        }
    }

    /// Deals with a management packet for this node, or by directed route for who comes after it.
    pub(crate) fn manage(&mut self, now: Time, mut origin: Origin, packet: &mut SmpPacket) -> Verdict {
        let MadHeader { base_version, class, .. } = packet.smp.header;
        let directed = class == Class::SUBN_DIRECTED_ROUTE;
        let step = match (class, origin) {
            _ if base_version != MadHeader::BASE_VERSION => Step::Discard,
            (Class::SUBN_DIRECTED_ROUTE, _) => directed::step(&mut packet.smp, self.kind, origin),
            (Class::SUBN_LID_ROUTED, Origin::Consumer(_)) => Step::AsAddressed,
            (Class::SUBN_LID_ROUTED, _) => Step::Here,
            _ => Step::Discard,
        };
        if let Some(verdict) = self.travel(step, &mut origin, directed, packet) {
            return verdict;
        }
        let end = self.end_of(origin.port());
        match self.act(now, origin.port(), directed, packet) {
            Outcome::Drop => Verdict::Done,
            Outcome::Deliver => Verdict::Deliver(end),
            Outcome::Answer => {
                self.turn_lids(end, &mut packet.header.lrh);
                let step =
                    if directed { directed::turn(&mut packet.smp, self.kind, origin) } else { Step::AsAddressed };
                self.travel(step, &mut origin, directed, packet).unwrap_or(Verdict::Deliver(end))
            }
        }
    }

    /// Sends a packet as far as this node can; `None` if it ends here.
    ///
    /// Where a part by LIDs ends at this very node, the next part of a directed route begins. There are three parts, so
    /// that this comes to an end.
    fn travel(
        &mut self,
        mut step: Step,
        origin: &mut Origin,
        directed: bool,
        packet: &mut SmpPacket,
    ) -> Option<Verdict> {
        while step != Step::Here {
            if let Some(verdict) = self.depart(step, *origin, packet) {
                return Some(verdict);
            }
            if !directed {
                break;
            }
            *origin = Origin::Lid(origin.port());
            step = directed::step(&mut packet.smp, self.kind, *origin);
        }
        None
    }

    /// Sends a packet a step further; `None` if the step leads to this node.
    fn depart(&mut self, step: Step, origin: Origin, packet: &mut SmpPacket) -> Option<Verdict> {
        let lrh = &mut packet.header.lrh;
        let end = self.end_of(origin.port());
        match step {
            Step::Here => return None,
            Step::Discard => return Some(self.drop_at(origin.port())),
            Step::Leave(port) => {
                (lrh.dlid, lrh.slid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
                return Some(self.leave(origin.port(), port));
            }
            Step::Route(lid) => (lrh.dlid, lrh.slid) = (lid, self.ports[self.index(end)].info.lid),
            Step::AsAddressed => {}
        }
        let lrh = packet.header.lrh;
        let is_own = self.ports[self.index(end)].has_lid(lrh.dlid);
        Some(match (origin, self.kind) {
            // What came by an adapter's link goes back by it, even if a Set gave the port the LID of who asks.
            (Origin::Link(port) | Origin::Lid(port), NodeKind::ChannelAdapter) => self.leave(port, port),
            _ if is_own => return None,
            (Origin::Consumer(port), NodeKind::ChannelAdapter) => self.leave(port, port),
            (Origin::Consumer(_), NodeKind::Switch) if lrh.dlid == Lid::PERMISSIVE => return None,
            (Origin::Consumer(port), NodeKind::Switch) => self.pass_on(port, &lrh),
            (Origin::Link(port) | Origin::Lid(port), NodeKind::Switch) if lrh.dlid == Lid::PERMISSIVE => {
                self.leave(port, port)
            }
            // An answer may leave by the port that its request came in by: only what is relayed must not.
            (Origin::Link(_) | Origin::Lid(_), NodeKind::Switch) => self.pass_on(PortNum::MANAGEMENT, &lrh),
        })
    }

    /// Addresses an answer of the port `end` to who asked.
    fn turn_lids(&self, end: PortNum, lrh: &mut Lrh) {
        let own = if lrh.dlid == Lid::PERMISSIVE { self.ports[self.index(end)].info.lid } else { lrh.dlid };
        (lrh.dlid, lrh.slid) = (lrh.slid, own);
    }

    /// Answers a datagram that ended here, having come in by port `number`, or says whose it is.
    fn act(&mut self, now: Time, number: PortNum, directed: bool, packet: &mut SmpPacket) -> Outcome {
        let MadHeader { class, class_version, method, attribute_id, .. } = packet.smp.header;
        if directed && packet.smp.is_returning() != method.is_response() {
            return self.forget(number);
        }
        let end = self.end_of(number);
        let index = self.index(end);
        let is_sm = self.ports[index].info.capability_mask().contains(CapabilityMask::SM);
        let action = classify(self.kind, class, method, attribute_id);
        match action {
            Action::Deliver => return Outcome::Deliver,
            Action::TellManager if is_sm => return Outcome::Deliver,
            Action::TellManager | Action::Discard | Action::Read(_) | Action::Write(_) => return self.forget(number),
            Action::Repress if class_version != Smp::CLASS_VERSION => return self.forget(number),
            _ if class_version != Smp::CLASS_VERSION => return answer(&mut packet.smp, Status::BAD_VERSION),
            // An unknown method needs no key.
            Action::Refuse(Status::BAD_METHOD) => return answer(&mut packet.smp, Status::BAD_METHOD),
            _ if !self.m_key_passes(now, end, packet) => return Outcome::Drop,
            Action::Get(SubnetAttribute::PortInfo) if !self.other_m_key_passes(now, number, packet) => {
                return Outcome::Drop;
            }
            _ => {}
        }
        let result = match action {
            Action::Get(attribute) => self.get(number, attribute, &mut packet.smp),
            Action::Set(attribute) => self.set(now, number, attribute, &mut packet.smp),
            Action::AskManager if is_sm => return Outcome::Deliver,
            Action::Repress => {
                if let Some(end) = &mut self.ports[index].end {
                    end.traps.repress(packet.smp.header.transaction_id);
                }
                return Outcome::Drop;
            }
            _ => return answer(&mut packet.smp, Status::BAD_METHOD_ATTRIBUTE),
        };
        let status = if result.is_ok() { Status::OK } else { Status::INVALID_FIELD };
        answer(&mut packet.smp, status)
    }

    /// Counts a packet that a rule forbids to act on.
    fn forget(&mut self, number: PortNum) -> Outcome {
        self.drop_at(number);
        Outcome::Drop
    }

    /// Returns `true` if a request has the M_Key of port `end`, or needs none (14.2.4). If not, that is a violation:
    /// it is counted and told of, and gets no answer.
    fn m_key_passes(&mut self, now: Time, end: PortNum, packet: &SmpPacket) -> bool {
        let index = self.index(end);
        let port = &mut self.ports[index];
        let own = port.info.m_key;
        if own == MKey::default() || own == packet.smp.m_key {
            port.lease = Time::NEVER;
            return true;
        }
        if packet.smp.header.method == Method::GET && port.info.m_key_protect_bits() < 2 {
            return true;
        }
        self.violated(now, end, packet);
        false
    }

    /// Each port of an adapter has a key of its own: reading another one's PortInfo takes both keys.
    fn other_m_key_passes(&mut self, now: Time, number: PortNum, packet: &SmpPacket) -> bool {
        if self.kind == NodeKind::Switch {
            return true;
        }
        match self.port_of_modifier(number, packet.smp.header.attribute_modifier.get()) {
            Ok(asked) if asked != number => self.m_key_passes(now, asked, packet),
            _ => true,
        }
    }

    /// Counts an M_Key violation, lets the lease run out, and takes up trap 256.
    fn violated(&mut self, now: Time, end: PortNum, packet: &SmpPacket) {
        let smp = &packet.smp;
        let index = self.index(end);
        let port = &mut self.ports[index];
        port.counters.drop_one();
        port.info.m_key_violations = port.info.m_key_violations.get().saturating_add(1).into();
        let period = port.info.m_key_lease_period.get();
        if period != 0 && port.lease == Time::NEVER {
            port.lease = now.after(Duration::from_secs(period.into()));
            self.deadline = Time::default();
        }
        let mut details = BadMKey::default();
        details.lid = packet.header.lrh.slid;
        details.method = smp.header.method;
        details.attribute_id = smp.header.attribute_id;
        details.attribute_modifier = smp.header.attribute_modifier;
        details.m_key = smp.m_key;
        if smp.header.class == Class::SUBN_DIRECTED_ROUTE {
            let hops = smp.hop_count();
            let room = details.return_path.len();
            let taken = usize::from(hops).min(room);
            details.set_directed_route(true);
            details.dr_slid = smp.dr_slid;
            details.set_path_truncated(usize::from(hops) > room);
            details.set_hop_count(hops);
            details.return_path[..taken].copy_from_slice(&smp.return_path[1..=taken]);
        }
        self.raise(now, end, TrapNumber::BAD_M_KEY, &details);
    }

    /// Writes a trap of port `number` as a packet, and says where it goes.
    #[cold]
    pub(crate) fn write_trap(
        &mut self,
        number: PortNum,
        transaction: TransactionId,
        notice: Notice,
        packet: &mut [u8; size_of::<SmpPacket>()],
    ) -> Verdict {
        let info = &self.ports[self.index(number)].info;
        let mut smp = Smp::default();
        smp.header.base_version = MadHeader::BASE_VERSION;
        smp.header.class = Class::SUBN_LID_ROUTED;
        smp.header.class_version = Smp::CLASS_VERSION;
        smp.header.method = Method::TRAP;
        smp.header.transaction_id = transaction;
        smp.header.attribute_id = iba::mad::AttributeId::NOTICE;
        smp.set_attribute(&notice);
        let mut trap = SmpPacket::new(info.lid, info.master_sm_lid, info.master_sm_sl(), smp);
        let verdict = self.depart(Step::AsAddressed, Origin::Consumer(number), &mut trap);
        packet.copy_from_slice(trap.as_bytes());
        verdict.unwrap_or(Verdict::Deliver(number))
    }
}

/// Makes a request its answer, but for its way back.
fn answer(smp: &mut Smp, status: Status) -> Outcome {
    smp.header.method = Method::GET_RESP;
    smp.header.status = status;
    Outcome::Answer
}
