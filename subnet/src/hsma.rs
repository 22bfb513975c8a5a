//! The hypervisor's subnet management agent (HSMA): logical switches, and logical adapters (LHCAs) behind them.
//!
//! Behind each physical port, the uplink, stands a logical switch. Its port 1 is the uplink; from port 2 on are logical
//! ports, each with one port of an LHCA. A subnet manager sees an ordinary switch with ordinary adapters. An LHCA may have a
//! port at more than one of the switches.
//!
//! A packet walks from node to node in its sender's buffer. Nothing is queued: a packet that comes in by the uplink, or
//! from a consumer, has gone out by an uplink, or to its consumers, or nowhere, when the call returns.

use alloc::boxed::Box;
use alloc::vec::Vec;

use iba::attr::PortPhysicalState;
use iba::packet::SmpPacket;
use iba::{Guid, PortNum};

use crate::adapter::{AdapterConfig, ChannelAdapter};
use crate::body::{Body, Chore, Verdict};
use crate::config::ConfigError;
use crate::counters::PortError;
use crate::outlet::{Event, Link, LinkRequest};
use crate::switch::{Switch, SwitchConfig};
use crate::time::Time;

/// The port of a logical switch that is the uplink.
pub const UPLINK: PortNum = PortNum::new(1);

/// A physical port, and the logical switch behind it; counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UplinkId(pub u8);

/// A logical adapter, as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LhcaId(pub u16);

/// Where the HSMA's packets and wishes go. A packet is good only for the call.
pub trait HsmaOutlet {
    /// Sends `packet` by the physical port `uplink`.
    fn transmit(&mut self, uplink: UplinkId, packet: &[u8]);

    /// Hands `packet` to the consumers at `port` of `lhca`.
    fn deliver(&mut self, lhca: LhcaId, port: PortNum, packet: &[u8]);

    /// Does something to the link of the physical port `uplink`, after all that was sent before.
    fn link(&mut self, uplink: UplinkId, request: LinkRequest);

    /// Tells the consumers at `port` of `lhca` what happened to it.
    fn event(&mut self, lhca: LhcaId, port: PortNum, event: Event) {
        let _ = (lhca, port, event);
    }
}

/// Where a port of an LHCA is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogicalPort {
    /// The logical switch.
    pub uplink: UplinkId,
    /// Its port, from 2 on.
    pub port: PortNum,
}

/// Why an LHCA cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// It cannot be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is to have as many logical ports as GUIDs of ports.
    #[error("{guids} port GUIDs were given for {ports} logical ports: give one for each")]
    Ports {
        /// Port GUIDs.
        guids: usize,
        /// Logical ports.
        ports: usize,
    },
    /// There is no such logical port.
    #[error("logical switch {} has no logical port {}: they are 2 to the number of its ports", .0.uplink.0, .0.port)]
    NoSuchPort(LogicalPort),
    /// The logical port is taken.
    #[error("port {} of logical switch {} is taken: choose another, or remove its adapter first", .0.port, .0.uplink.0)]
    PortTaken(LogicalPort),
    /// There is no room for more.
    #[error("{0} adapters are as many as there can be")]
    Full(usize),
}

/// Logical switches and the LHCAs behind them.
pub struct Hsma {
    switches: Box<[LogicalSwitch]>,
    lhcas: Vec<Option<Lhca>>,
    /// No node has a chore before this.
    deadline: Time,
}

struct LogicalSwitch {
    switch: Switch,
    /// Which LHCA is at each port, and which of its ports.
    peers: Box<[Option<(LhcaId, PortNum)>]>,
}

struct Lhca {
    adapter: ChannelAdapter,
    /// Where each of its ports is, port 1 first.
    places: Box<[LogicalPort]>,
    plugged: bool,
}

/// Which node a packet is at, and by which of its ports it got there.
#[derive(Clone, Copy)]
enum Place {
    Switch(UplinkId, PortNum),
    Lhca(LhcaId, PortNum),
}

impl Hsma {
    /// Logical switches, one for each physical port, without LHCAs and with all links down.
    ///
    /// # Errors
    /// A switch that cannot be made, or two with one GUID.
    pub fn new(switches: &[SwitchConfig]) -> Result<Self, ConfigError> {
        let mut made = Vec::with_capacity(switches.len());
        for (index, config) in switches.iter().enumerate() {
            if switches[..index].iter().any(|other| other.node.node_guid == config.node.node_guid) {
                return Err(ConfigError::DuplicateGuid(config.node.node_guid));
            }
            let peers = (0..=config.ports).map(|_| None).collect();
            made.push(LogicalSwitch { switch: Switch::new(config)?, peers });
        }
        Ok(Self { switches: made.into_boxed_slice(), lhcas: Vec::new(), deadline: Time::NEVER })
    }

    /// Adds an LHCA with a port at each of `places`. Its links stay down until it is plugged in.
    ///
    /// # Errors
    /// An adapter that cannot be made, a GUID that another node or port has, or a place that is none or is taken.
    pub fn add(&mut self, config: &AdapterConfig, places: &[LogicalPort]) -> Result<LhcaId, AddError> {
        let adapter = ChannelAdapter::new(config)?;
        if config.port_guids.len() != places.len() {
            return Err(AddError::Ports { guids: config.port_guids.len(), ports: places.len() });
        }
        let guids = config.port_guids.iter().chain([&config.node.node_guid]);
        if let Some(&twice) = guids.into_iter().find(|guid| self.has_guid(**guid)) {
            return Err(ConfigError::DuplicateGuid(twice).into());
        }
        for (index, &place) in places.iter().enumerate() {
            let peer = self.peer(place).ok_or(AddError::NoSuchPort(place))?;
            if peer.is_some() || places[..index].contains(&place) {
                return Err(AddError::PortTaken(place));
            }
        }
        let free = self.lhcas.iter().position(Option::is_none).unwrap_or(self.lhcas.len());
        let id = LhcaId(u16::try_from(free).map_err(|_| AddError::Full(free))?);
        let lhca = Lhca { adapter, places: places.into(), plugged: false };
        for (&place, number) in places.iter().zip(1..) {
            self.switches[usize::from(place.uplink.0)].peers[usize::from(place.port.get())] =
                Some((id, PortNum::new(number)));
        }
        match self.lhcas.get_mut(free) {
            Some(slot) => *slot = Some(lhca),
            None => self.lhcas.push(Some(lhca)),
        }
        Ok(id)
    }

    /// Unplugs an LHCA and forgets it. Its number may be another's later.
    pub fn remove(&mut self, now: Time, lhca: LhcaId, out: &mut impl HsmaOutlet) {
        self.unplug(now, lhca, out);
        if let Some(gone) = self.lhcas.get_mut(usize::from(lhca.0)).and_then(Option::take) {
            for place in gone.places {
                self.switches[usize::from(place.uplink.0)].peers[usize::from(place.port.get())] = None;
            }
        }
    }

    /// Brings up the links between an LHCA and its logical switches, as if cables were plugged in.
    pub fn plug(&mut self, now: Time, lhca: LhcaId, out: &mut impl HsmaOutlet) {
        self.set_plugged(now, lhca, true, out);
    }

    /// Takes down the links between an LHCA and its logical switches, as if cables were pulled.
    pub fn unplug(&mut self, now: Time, lhca: LhcaId, out: &mut impl HsmaOutlet) {
        self.set_plugged(now, lhca, false, out);
    }

    fn set_plugged(&mut self, now: Time, id: LhcaId, plugged: bool, out: &mut impl HsmaOutlet) {
        let Some(lhca) = self.lhca_mut(id) else { return };
        lhca.plugged = plugged;
        for index in 0..lhca.places.len() {
            if let Some(place) = self.lhca_mut(id).map(|lhca| lhca.places[index]) {
                self.settle(now, place);
            }
        }
        self.poll(now, out);
    }

    /// Makes both ends of a logical link what the LHCA being plugged in, and the ends being switched off, make of it.
    fn settle(&mut self, now: Time, place: LogicalPort) {
        let Some(Some((id, number))) = self.peer(place) else { return };
        let switch = &mut self.switches[usize::from(place.uplink.0)].switch.body;
        let Some(Some(lhca)) = self.lhcas.get_mut(usize::from(id.0)) else { return };
        let adapter = &mut lhca.adapter.body;
        let is_off = |body: &Body, number| {
            body.port(number).is_none_or(|port| port.info.physical_state() == PortPhysicalState::DISABLED)
        };
        let up = lhca.plugged && !is_off(switch, place.port) && !is_off(adapter, number);
        let ends = switch.port(place.port).zip(adapter.port(number));
        let link = ends.filter(|_| up).and_then(|(one, other)| Link::between(&one.info, &other.info));
        if let Some(link) = link {
            switch.link_up(now, place.port, link);
            adapter.link_up(now, number, link);
        } else {
            switch.link_down(now, place.port);
            adapter.link_down(now, number);
        }
        self.deadline = Time::default();
    }

    /// Deals with `packet`, which the physical port `uplink` brought. It is changed in place.
    pub fn receive(&mut self, now: Time, uplink: UplinkId, packet: &mut [u8], out: &mut impl HsmaOutlet) {
        self.walk(now, Place::Switch(uplink, UPLINK), packet, out);
        self.poll(now, out);
    }

    /// Deals with `packet`, which a consumer at `port` of `lhca` sends: from its queue pair 0, 1 or another. Whatever it
    /// is for, it begins at that port and takes the way that a packet of a real adapter takes. It is changed in place.
    pub fn send(&mut self, now: Time, lhca: LhcaId, port: PortNum, packet: &mut [u8], out: &mut impl HsmaOutlet) {
        let Some(sender) = self.lhca_mut(lhca) else { return };
        let verdict = sender.adapter.body.send(now, port, packet);
        self.carry_out(now, Place::Lhca(lhca, port), verdict, packet, out);
        self.poll(now, out);
    }

    /// The link of the physical port `uplink` came up.
    pub fn link_up(&mut self, now: Time, uplink: UplinkId, link: Link, out: &mut impl HsmaOutlet) {
        if let Some(logical) = self.switches.get_mut(usize::from(uplink.0)) {
            logical.switch.body.link_up(now, UPLINK, link);
            self.deadline = Time::default();
        }
        self.poll(now, out);
    }

    /// The link of the physical port `uplink` went down.
    pub fn link_down(&mut self, now: Time, uplink: UplinkId, out: &mut impl HsmaOutlet) {
        if let Some(logical) = self.switches.get_mut(usize::from(uplink.0)) {
            logical.switch.body.link_down(now, UPLINK);
            self.deadline = Time::default();
        }
        self.poll(now, out);
    }

    /// Counts errors that the physical port `uplink` told of.
    pub fn count(&mut self, uplink: UplinkId, error: PortError, times: u32) {
        if let Some(logical) = self.switches.get_mut(usize::from(uplink.0)) {
            logical.switch.body.count(UPLINK, error, times);
        }
    }

    /// A subnet manager begins (`true`) or ends at `port` of `lhca`.
    pub fn set_is_sm(&mut self, now: Time, lhca: LhcaId, port: PortNum, is_sm: bool, out: &mut impl HsmaOutlet) {
        if let Some(found) = self.lhca_mut(lhca) {
            found.adapter.body.set_is_sm(now, port, is_sm);
            self.deadline = Time::default();
        }
        self.poll(now, out);
    }

    /// Does what is due, and says when something is next. `None` means that nothing will be before the next call.
    pub fn poll(&mut self, now: Time, out: &mut impl HsmaOutlet) -> Option<Time> {
        while now >= self.deadline {
            self.deadline = Time::NEVER;
            for uplink in (0..).map(UplinkId).take(self.switches.len()) {
                self.poll_node(now, Place::Switch(uplink, PortNum::MANAGEMENT), out);
            }
            for lhca in (0..).map(LhcaId).take(self.lhcas.len()) {
                self.poll_node(now, Place::Lhca(lhca, PortNum::MANAGEMENT), out);
            }
        }
        Some(self.deadline).filter(|&deadline| deadline != Time::NEVER)
    }

    fn poll_node(&mut self, now: Time, place: Place, out: &mut impl HsmaOutlet) {
        let mut packet = [0; size_of::<SmpPacket>()];
        loop {
            let Some(body) = self.body_mut(place) else { return };
            let Some(chore) = body.chore(now, &mut packet) else {
                let deadline = body.deadline;
                self.deadline = self.deadline.min(deadline);
                return;
            };
            match (chore, place) {
                (Chore::Trap(verdict), _) => self.carry_out(now, place, verdict, &mut packet, out),
                (Chore::Event(port, event), Place::Lhca(lhca, _)) => out.event(lhca, port, event),
                (Chore::Event(..), Place::Switch(..)) => {}
                (Chore::Link(UPLINK, request), Place::Switch(uplink, _)) => out.link(uplink, request),
                (Chore::Link(port, _), Place::Switch(uplink, _)) => self.retrain(now, LogicalPort { uplink, port }),
                (Chore::Link(port, _), Place::Lhca(lhca, _)) => {
                    let place = self.lhca_mut(lhca).and_then(|lhca| lhca.places.get(usize::from(port.get()) - 1));
                    if let Some(&place) = place {
                        self.retrain(now, place);
                    }
                }
            }
        }
    }

    /// Takes a logical link down at both ends, and up again if it may be.
    fn retrain(&mut self, now: Time, place: LogicalPort) {
        let Some(Some((id, number))) = self.peer(place) else { return };
        self.switches[usize::from(place.uplink.0)].switch.body.link_down(now, place.port);
        if let Some(lhca) = self.lhca_mut(id) {
            lhca.adapter.body.link_down(now, number);
        }
        self.settle(now, place);
    }

    /// Lets a packet walk from node to node, from `place` on.
    ///
    /// A node hands a packet on or answers it, and no node answers an answer, so that the walk ends.
    fn walk(&mut self, now: Time, place: Place, packet: &mut [u8], out: &mut impl HsmaOutlet) {
        let (Place::Switch(_, port) | Place::Lhca(_, port)) = place;
        let Some(body) = self.body_mut(place) else { return };
        let verdict = body.receive(now, port, packet);
        self.carry_out(now, place, verdict, packet, out);
    }

    fn carry_out(
        &mut self,
        now: Time,
        mut place: Place,
        mut verdict: Verdict,
        packet: &mut [u8],
        out: &mut impl HsmaOutlet,
    ) {
        loop {
            if let Some(body) = self.body_mut(place) {
                let deadline = body.deadline;
                self.deadline = self.deadline.min(deadline);
            }
            match (verdict, place) {
                (Verdict::Done, _) | (Verdict::Deliver(_), Place::Switch(..)) => return,
                (Verdict::Deliver(port), Place::Lhca(lhca, _)) => return out.deliver(lhca, port, packet),
                (Verdict::Multicast, Place::Lhca(..)) => return,
                (Verdict::Multicast, Place::Switch(uplink, from)) => {
                    return self.replicate(now, uplink, from, packet, out);
                }
                (Verdict::Transmit(UPLINK), Place::Switch(uplink, _)) => return out.transmit(uplink, packet),
                (Verdict::Transmit(port), Place::Switch(uplink, _)) => {
                    let Some(Some((lhca, number))) = self.peer(LogicalPort { uplink, port }) else { return };
                    place = Place::Lhca(lhca, number);
                }
                (Verdict::Transmit(port), Place::Lhca(lhca, _)) => {
                    let index = usize::from(port.get()).wrapping_sub(1);
                    let Some(&at) = self.lhca_mut(lhca).and_then(|lhca| lhca.places.get(index)) else { return };
                    place = Place::Switch(at.uplink, at.port);
                }
            }
            let (Place::Switch(_, port) | Place::Lhca(_, port)) = place;
            let Some(body) = self.body_mut(place) else { return };
            verdict = body.receive(now, port, packet);
        }
    }

    /// Lets a multicast packet that came into a logical switch by `from` walk on to each port of its group. From there it
    /// goes out, or to consumers.
    fn replicate(&mut self, now: Time, uplink: UplinkId, from: PortNum, packet: &mut [u8], out: &mut impl HsmaOutlet) {
        let Some(logical) = self.switches.get(usize::from(uplink.0)) else { return };
        for port in logical.switch.body.group(from, packet) {
            let Some(logical) = self.switches.get_mut(usize::from(uplink.0)) else { return };
            match logical.switch.body.leave_with_data(now, from, port, packet) {
                Verdict::Transmit(UPLINK) => out.transmit(uplink, packet),
                Verdict::Transmit(port) => {
                    if let Some(Some((lhca, number))) = self.peer(LogicalPort { uplink, port }) {
                        self.walk(now, Place::Lhca(lhca, number), packet, out);
                    }
                }
                _ => {}
            }
        }
    }

    fn body_mut(&mut self, place: Place) -> Option<&mut Body> {
        match place {
            Place::Switch(uplink, _) => {
                self.switches.get_mut(usize::from(uplink.0)).map(|logical| &mut logical.switch.body)
            }
            Place::Lhca(lhca, _) => self.lhca_mut(lhca).map(|lhca| &mut lhca.adapter.body),
        }
    }

    fn lhca_mut(&mut self, id: LhcaId) -> Option<&mut Lhca> {
        self.lhcas.get_mut(usize::from(id.0)).and_then(Option::as_mut)
    }

    /// Who is at a logical port, if there is such a port.
    fn peer(&self, place: LogicalPort) -> Option<Option<(LhcaId, PortNum)>> {
        let peers = &self.switches.get(usize::from(place.uplink.0))?.peers;
        peers.get(usize::from(place.port.get())).filter(|_| place.port > UPLINK).copied()
    }

    fn has_guid(&self, guid: Guid) -> bool {
        let adapters = self.lhcas.iter().flatten().any(|lhca| {
            lhca.adapter.node_info().node_guid == guid || lhca.adapter.body.ports.iter().any(|port| port.guid == guid)
        });
        adapters || self.switches.iter().any(|logical| logical.switch.node_info().node_guid == guid)
    }

    /// The logical switch behind `uplink`, to look at.
    #[must_use]
    pub fn switch(&self, uplink: UplinkId) -> Option<&Switch> {
        self.switches.get(usize::from(uplink.0)).map(|logical| &logical.switch)
    }

    /// An LHCA, to look at.
    #[must_use]
    pub fn lhca(&self, lhca: LhcaId) -> Option<&ChannelAdapter> {
        self.lhcas.get(usize::from(lhca.0))?.as_ref().map(|lhca| &lhca.adapter)
    }

    /// All LHCAs.
    pub fn lhcas(&self) -> impl Iterator<Item = LhcaId> + '_ {
        (0..).map(LhcaId).zip(&self.lhcas).filter(|(_, lhca)| lhca.is_some()).map(|(id, _)| id)
    }

    /// Where the ports of an LHCA are, port 1 first.
    #[must_use]
    pub fn places(&self, lhca: LhcaId) -> &[LogicalPort] {
        self.lhcas.get(usize::from(lhca.0)).and_then(Option::as_ref).map_or(&[], |lhca| &lhca.places)
    }
}
