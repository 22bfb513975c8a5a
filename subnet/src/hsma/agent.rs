//! The agent itself: its logical switches and LHCAs, and the operations on them.

use alloc::vec;
use alloc::vec::Vec;

use iba::{Guid, PortNum};

use super::deferred_counters::DeferredCounters;
use super::due::Due;
use super::member::{At, Member, Wire};
use super::qp0::{Origin, Qp0Counters, is_request, is_smp};
use super::types::{HsmaOutlet, LhcaId, LogicalPort, UPLINK, UplinkId};
use crate::adapter::{AdapterConfig, ChannelAdapter};
use crate::body::{Body, Verdict};
use crate::config::ConfigError;
use crate::counters::PortError;
use crate::node::Node;
use crate::outlet::Link;
use crate::switch::{Switch, SwitchConfig};
use crate::time::Time;

/// Reason for which an LHCA cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The adapter cannot be created.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The number of logical ports is not that of the port GUIDs.
    #[error("cannot add an LHCA with {guids} port GUIDs at {ports} logical ports: give one GUID for each")]
    Ports {
        /// Port GUIDs.
        guids: usize,
        /// Logical ports.
        ports: usize,
    },
    /// The logical port does not exist.
    #[error("cannot use port {} of logical switch {}: its logical ports are 2 to the number of its ports", .0.port, .0.uplink.0)]
    NoSuchPort(LogicalPort),
    /// Another LHCA is at the logical port.
    #[error("cannot use port {} of logical switch {}: it is taken; choose another, or remove its LHCA first", .0.port, .0.uplink.0)]
    PortTaken(LogicalPort),
    /// The limit is reached.
    #[error("cannot add an LHCA: the limit is {0}")]
    Full(usize),
}

/// Logical switches and the LHCAs behind them.
#[derive(Debug)]
pub struct Hsma {
    /// The logical switches, and then the LHCAs.
    pub(super) members: Vec<Option<Member>>,
    pub(super) switches: usize,
    /// Traffic of the queue pair 0 of each physical port.
    qp0: Vec<Qp0Counters>,
    /// Members with work.
    pub(super) due: Due,
    /// No other member has work before this time.
    pub(super) deadline: Time,
    /// Number of events that may have changed routes; see [`RoutingEpoch`](super::RoutingEpoch).
    pub(super) epoch: u64,
    pub(super) deferred: DeferredCounters,
}

impl Hsma {
    /// Creates the agent with a logical switch for each physical port, without LHCAs and with all links down.
    ///
    /// # Errors
    /// A switch that cannot be made, or two with one GUID.
    pub fn new(switches: &[SwitchConfig]) -> Result<Self, ConfigError> {
        let mut members = Vec::with_capacity(switches.len());
        for (index, config) in switches.iter().enumerate() {
            if switches[..index].iter().any(|other| other.node.node_guid == config.node.node_guid) {
                return Err(ConfigError::DuplicateGuid(config.node.node_guid));
            }
            let mut switch = Member::new(Node::Switch(Switch::new(config)?), config.ports);
            let uplink = u8::try_from(index).map_err(|_| ConfigError::Ports(switches.len()))?;
            switch.wire(UPLINK, Wire::Uplink(UplinkId(uplink)));
            switch.plugged = true;
            members.push(Some(switch));
        }
        Ok(Self {
            members,
            switches: switches.len(),
            qp0: vec![Qp0Counters::default(); switches.len()],
            due: Due::default(),
            deadline: Time::NEVER,
            epoch: 0,
            deferred: DeferredCounters::default(),
        })
    }

    /// Adds an LHCA with a port at each of `places`. Its links stay down until it is plugged in.
    ///
    /// # Errors
    /// An adapter that cannot be made, a GUID that another node or port has, or a place that is none or is taken.
    pub fn add(&mut self, config: &AdapterConfig, places: &[LogicalPort]) -> Result<LhcaId, AddError> {
        self.epoch += 1;
        let adapter = ChannelAdapter::new(config)?;
        let ports = adapter.node_info().num_ports;
        if usize::from(ports) != places.len() {
            return Err(AddError::Ports { guids: ports.into(), ports: places.len() });
        }
        let mut guids = config.port_guids.iter().chain([&config.node.node_guid]);
        if let Some(&twice) = guids.find(|guid| self.has_guid(**guid)) {
            return Err(ConfigError::DuplicateGuid(twice).into());
        }
        for (index, &place) in places.iter().enumerate() {
            let wire = self.wire_at(place).ok_or(AddError::NoSuchPort(place))?;
            if wire != Wire::Nowhere || places[..index].contains(&place) {
                return Err(AddError::PortTaken(place));
            }
        }
        let lhcas = self.members.len() - self.switches;
        let free = self.members[self.switches..].iter().position(Option::is_none).unwrap_or(lhcas);
        let id = u16::try_from(self.switches + free)
            .ok()
            .and_then(|member| Some((LhcaId(u16::try_from(free).ok()?), member)));
        let (id, number) = id.ok_or(AddError::Full(lhcas))?;
        let mut member = Member::new(Node::ChannelAdapter(adapter), ports);
        for (&place, port) in places.iter().zip((1..).map(PortNum::new)) {
            let at = At { member: place.uplink.0.into(), port: place.port };
            member.wire(port, Wire::To(at));
            if let Some(switch) = self.member_mut(at.member) {
                switch.wire(at.port, Wire::To(At { member: number, port }));
            }
        }
        match self.members.get_mut(usize::from(number)) {
            Some(slot) => *slot = Some(member),
            None => self.members.push(Some(member)),
        }
        Ok(id)
    }

    /// Unplugs and removes an LHCA. Another may get its number later.
    pub fn remove(&mut self, now: Time, lhca: LhcaId, out: &mut impl HsmaOutlet) {
        self.unplug(now, lhca, out);
        let Some(gone) = self.number(lhca).and_then(|number| self.members[usize::from(number)].take()) else { return };
        for at in gone.wires() {
            if let Some(switch) = self.member_mut(at.member) {
                switch.wire(at.port, Wire::Nowhere);
            }
        }
    }

    /// Brings up the links between an LHCA and its logical switches, as if cables were plugged in.
    pub fn plug(&mut self, now: Time, lhca: LhcaId, out: &mut impl HsmaOutlet) {
        self.set_plugged(now, lhca, true, out);
    }

    /// Takes down the links between an LHCA and its logical switches, as if cables were unplugged.
    pub fn unplug(&mut self, now: Time, lhca: LhcaId, out: &mut impl HsmaOutlet) {
        self.set_plugged(now, lhca, false, out);
    }

    fn set_plugged(&mut self, now: Time, lhca: LhcaId, plugged: bool, out: &mut impl HsmaOutlet) {
        self.apply_deferred();
        self.epoch += 1;
        let Some(number) = self.number(lhca) else { return };
        let Some(member) = self.member_mut(number) else { return };
        member.plugged = plugged;
        for port in 1..=member.ports() {
            self.settle(now, At { member: number, port: PortNum::new(port) });
        }
        self.poll(now, out);
    }

    /// Handles `packet`, which the physical port `uplink` received. It is changed in place.
    pub fn receive(&mut self, now: Time, uplink: UplinkId, packet: &mut [u8], out: &mut impl HsmaOutlet) {
        if usize::from(uplink.0) < self.switches {
            self.apply_deferred();
            let is_smp = is_smp(packet);
            self.epoch += u64::from(is_smp);
            let was_request = is_smp && is_request(packet);
            let exit = self.walk(now, At { member: uplink.0.into(), port: UPLINK }, packet, out);
            if let (true, Some(qp0)) = (is_smp, self.qp0.get_mut(usize::from(uplink.0))) {
                qp0.count(Origin::Cable, exit, was_request, packet);
            }
            self.poll(now, out);
        }
    }

    /// Handles `packet`, which a consumer at `port` of `lhca` sends from its queue pair 0, 1 or another. It starts at
    /// that port and takes the route that a packet of a real adapter takes; a partition has no other way into the
    /// subnet. The packet is changed in place.
    pub fn send(&mut self, now: Time, lhca: LhcaId, port: PortNum, packet: &mut [u8], out: &mut impl HsmaOutlet) {
        let Some(member) = self.number(lhca) else { return };
        self.apply_deferred();
        let is_smp = is_smp(packet);
        self.epoch += u64::from(is_smp);
        let was_request = is_smp && is_request(packet);
        let from = At { member, port };
        let mut leaves_port = false;
        let first = |body: &mut Body, packet: &mut [u8]| {
            let verdict = body.send(now, port, packet);
            leaves_port = matches!(verdict, Verdict::Transmit(_));
            verdict
        };
        let exit = self.walk_from(now, from, first, packet, out);
        if let (true, Wire::To(switch)) = (is_smp && leaves_port, self.wired(from))
            && let Some(qp0) = self.qp0.get_mut(usize::from(switch.member))
        {
            qp0.count(Origin::AliasedQp0, exit, was_request, packet);
        }
        self.poll(now, out);
    }

    /// Notes that the link of the physical port `uplink` came up.
    pub fn link_up(&mut self, now: Time, uplink: UplinkId, link: Link, out: &mut impl HsmaOutlet) {
        self.with_switch(now, uplink, out, |switch| switch.body_mut().link_up(now, UPLINK, link));
    }

    /// Notes that the link of the physical port `uplink` went down.
    pub fn link_down(&mut self, now: Time, uplink: UplinkId, out: &mut impl HsmaOutlet) {
        self.with_switch(now, uplink, out, |switch| switch.body_mut().link_down(now, UPLINK));
    }

    /// Counts errors of the physical port `uplink`.
    pub fn count(&mut self, uplink: UplinkId, error: PortError, times: u32) {
        if let Some(body) = self.switch_number(uplink).and_then(|number| self.body_mut(number)) {
            body.count(UPLINK, error, times);
        }
    }

    /// Sets or clears IsSM at `port` of `lhca`: a subnet manager starts or ends there.
    pub fn set_is_sm(&mut self, now: Time, lhca: LhcaId, port: PortNum, is_sm: bool, out: &mut impl HsmaOutlet) {
        if let Some(number) = self.number(lhca) {
            self.with_member(now, number, out, |adapter| adapter.body_mut().set_is_sm(now, port, is_sm));
        }
    }

    /// Sets the count of Q_Key violations at `port` of `lhca` to 0.
    pub fn reset_q_key_violations(&mut self, lhca: LhcaId, port: PortNum) {
        let body = self.number(lhca).and_then(|number| self.body_mut(number));
        if let Some(port) = body.and_then(|body| body.linked_port(port)) {
            port.info.q_key_violations = 0.into();
        }
    }

    fn with_switch(&mut self, now: Time, uplink: UplinkId, out: &mut impl HsmaOutlet, act: impl FnOnce(&mut Node)) {
        if let Some(number) = self.switch_number(uplink) {
            self.with_member(now, number, out, act);
        }
    }

    /// Acts on a member, and does the work that results.
    fn with_member(&mut self, now: Time, number: u16, out: &mut impl HsmaOutlet, act: impl FnOnce(&mut Node)) {
        self.apply_deferred();
        self.epoch += 1;
        if let Some(member) = self.member_mut(number) {
            act(&mut member.node);
            self.note(now, number);
            self.poll(now, out);
        }
    }

    fn has_guid(&self, guid: Guid) -> bool {
        self.members.iter().flatten().any(|member| {
            let body = member.node.body();
            body.node_info.node_guid == guid || body.ports.iter().any(|port| port.guid == guid)
        })
    }

    /// Returns the other end of a logical port's wire, if the port exists.
    fn wire_at(&self, place: LogicalPort) -> Option<Wire> {
        let number = self.switch_number(place.uplink)?;
        let switch = self.members[usize::from(number)].as_ref()?;
        Some(switch.wired(place.port)).filter(|_| (UPLINK.get() + 1..=switch.ports()).contains(&place.port.get()))
    }

    /// Returns the member that a logical switch is.
    fn switch_number(&self, uplink: UplinkId) -> Option<u16> {
        Some(u16::from(uplink.0)).filter(|&number| usize::from(number) < self.switches)
    }

    /// Returns the member that an LHCA is, if it exists.
    pub(super) fn number(&self, lhca: LhcaId) -> Option<u16> {
        let number = usize::from(lhca.0) + self.switches;
        self.members.get(number)?.as_ref()?;
        u16::try_from(number).ok()
    }

    /// Returns the logical switch behind `uplink`.
    #[must_use]
    pub fn switch(&self, uplink: UplinkId) -> Option<&Switch> {
        match &self.members[usize::from(self.switch_number(uplink)?)].as_ref()?.node {
            Node::Switch(switch) => Some(switch),
            Node::ChannelAdapter(_) => None,
        }
    }

    /// Returns the traffic of the queue pair 0 of the physical port `uplink`, if the HSMA has that port.
    #[must_use]
    pub fn qp0_counters(&self, uplink: UplinkId) -> Option<Qp0Counters> {
        self.qp0.get(usize::from(uplink.0)).copied()
    }

    /// Returns an LHCA.
    #[must_use]
    pub fn lhca(&self, lhca: LhcaId) -> Option<&ChannelAdapter> {
        match &self.members[usize::from(self.number(lhca)?)].as_ref()?.node {
            Node::ChannelAdapter(adapter) => Some(adapter),
            Node::Switch(_) => None,
        }
    }

    /// Returns all LHCAs.
    pub fn lhcas(&self) -> impl Iterator<Item = LhcaId> + '_ {
        (0..).map(LhcaId).zip(&self.members[self.switches..]).filter(|(_, lhca)| lhca.is_some()).map(|(id, _)| id)
    }

    /// Returns `true` if an LHCA is plugged in.
    #[must_use]
    pub fn is_plugged(&self, lhca: LhcaId) -> bool {
        let member = self.number(lhca).and_then(|number| self.members[usize::from(number)].as_ref());
        member.is_some_and(|member| member.plugged)
    }

    /// Returns the lowest free logical port of the switch behind `uplink`.
    #[must_use]
    pub fn free_port(&self, uplink: UplinkId) -> Option<LogicalPort> {
        let ports = (UPLINK.get() + 1..=u8::MAX).map(|port| LogicalPort { uplink, port: PortNum::new(port) });
        ports
            .map_while(|place| Some((place, self.wire_at(place)?)))
            .find(|(_, wire)| *wire == Wire::Nowhere)
            .map(|(place, _)| place)
    }

    /// Returns the logical ports of an LHCA, its port 1 first.
    pub fn places(&self, lhca: LhcaId) -> impl Iterator<Item = LogicalPort> + '_ {
        let member = self.number(lhca).and_then(|number| self.members[usize::from(number)].as_ref());
        let place =
            |at: At| u8::try_from(at.member).ok().map(|uplink| LogicalPort { uplink: UplinkId(uplink), port: at.port });
        member.into_iter().flat_map(Member::wires).filter_map(place)
    }
}
