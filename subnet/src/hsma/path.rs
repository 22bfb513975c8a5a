//! Paths of data between LHCAs, resolved once and used for many packets.
//!
//! A packet that walks asks at each port whether it may pass. What the ports say changes only when the subnet is
//! managed, or a cable moves, so a sender resolves a path once, and again in the next routing epoch.

use iba::attr::PortState;
use iba::{Lid, PKey, PortNum, Sl};

use super::agent::Hsma;
use super::deferred_counters::{DeferredCount, DeferredId};
use super::member::{At, Wire};
use super::types::LhcaId;
use crate::body::Body;
use crate::time::Time;

/// A path from a port of one LHCA to a port of another, behind the same logical switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Destination LHCA.
    pub lhca: LhcaId,
    /// Destination port.
    pub port: PortNum,
    /// Longest payload that all its ports accept, in bytes.
    pub mtu: u16,
    /// Deferred counters of its packets.
    pub deferred: DeferredId,
}

/// Epoch of the state that paths depend on. A path is valid in the epoch in which it was resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoutingEpoch(u64);

impl Hsma {
    /// Resolves the path of data with `p_key` to `dlid` on `sl` from `port` of `lhca`, if it leads to another LHCA.
    #[must_use]
    pub fn path(&mut self, lhca: LhcaId, port: PortNum, dlid: Lid, sl: Sl, p_key: PKey) -> Option<Path> {
        let from = At { member: self.number(lhca)?, port };
        let Wire::To(At { member: switch, port: entry }) = self.wired(from) else { return None };
        let (source, relay) = (self.body(from.member)?, self.body(switch)?);
        if source.port(port)?.has_lid(dlid) || relay.port(PortNum::MANAGEMENT)?.has_lid(dlid) {
            return None;
        }
        let exit = relay.relay.as_ref()?.unicast(dlid);
        let Wire::To(to) = self.wired(At { member: switch, port: exit }) else { return None };
        let target = self.body(to.member)?;
        let enters = |body: &Body, port: PortNum| {
            body.port(port).is_some_and(|port| port.info.port_state() == PortState::ACTIVE)
        };
        let (way_in, way_out) = (relay.port(entry)?, relay.port(exit)?);
        let admitted = (!way_in.info.partition_enforcement_inbound() || way_in.admits(p_key))
            && (!way_out.info.partition_enforcement_outbound() || way_out.admits(p_key));
        let arrives = enters(relay, entry) && enters(target, to.port) && target.port(to.port)?.has_lid(dlid);
        if !admitted || !arrives {
            return None;
        }
        let takes = |mtu: u16| {
            let words = mtu / 4 + HEADERS;
            let first = source.port(port)?.lane(0, sl, words);
            first.and(relay.port(exit)?.lane(usize::from(entry.get()), sl, words))
        };
        let mtu = MTUS.into_iter().rev().find(|&mtu| takes(mtu).is_some())?;
        let lhca = self.lhca_of(to.member)?;
        let passes = [
            (from, true),
            (At { member: switch, port: entry }, false),
            (At { member: switch, port: exit }, true),
            (to, false),
        ];
        Some(Path { lhca, port: to.port, mtu, deferred: self.open_deferred(passes) })
    }

    /// A new deferred. If there are as many as there may be, all begin anew, and with them all paths.
    fn open_deferred(&mut self, passes: [(At, bool); 4]) -> DeferredId {
        if let Some(id) = self.deferred.open(passes) {
            return id;
        }
        self.apply_deferred();
        self.epoch += 1;
        self.deferred.forget();
        self.deferred.open(passes).unwrap_or_default()
    }

    /// Counts the deferred packets at each port of their paths. The HSMA does so itself before it does
    /// anything but [`Self::pass`]; a reader of counters calls it first.
    #[inline]
    pub fn apply_deferred(&mut self) {
        if self.deferred.any() {
            self.apply_all_deferred();
        }
    }

    #[cold]
    fn apply_all_deferred(&mut self) {
        while let Some(DeferredCount { passes, packets, words }) = self.deferred.take() {
            for (at, sent) in passes {
                if let Some(port) = self.body_mut(at.member).and_then(|body| body.linked_port(at.port)) {
                    port.counters.passed(sent, packets, words);
                }
            }
        }
    }

    /// Returns the present epoch; `None` while work is due that precedes any packet.
    #[must_use]
    #[inline]
    pub fn routing_epoch(&self, now: Time) -> Option<RoutingEpoch> {
        self.is_idle(now).then_some(RoutingEpoch(self.epoch))
    }

    /// Notes that a packet of `words` words of four bytes, invariant CRC included, went by a path that was found in
    /// today's [layout](Self::routing_epoch).
    #[inline(always)]
    pub fn pass(&mut self, deferred: DeferredId, words: u64) {
        self.deferred.pass(deferred, words);
    }

    fn body(&self, number: u16) -> Option<&Body> {
        self.members.get(usize::from(number))?.as_ref().map(|member| member.node.body())
    }
}

/// All MTUs, in bytes (14.2.5.6).
const MTUS: [u16; 5] = [256, 512, 1024, 2048, 4096];
/// The most that headers and invariant CRC add to a payload, in words of four bytes (7.7.8).
const HEADERS: u16 = 31;
