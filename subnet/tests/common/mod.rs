//! Common parts of the tests: an outlet that records, requests, and a fabric with a small subnet manager.
#![allow(dead_code, clippy::cast_possible_truncation)] // each test uses a part; the numbers of tests are small

pub(crate) mod sm;

use iba::grh::Grh;
use iba::lrh::{Lrh, NextHeader};
use iba::mad::{AttributeId, Class, MadHeader, Method};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Gid, Guid, Lid, PortNum, Sl};
use subnet::{
    AdapterConfig, ChannelAdapter, Event, Hsma, HsmaOutlet, Key, LhcaId, Link, LinkRequest, LogicalPort, NodeConfig,
    Outlet, Switch, SwitchConfig, Time, UplinkId,
};
use zerocopy::{FromBytes, IntoBytes};

/// Events that an outlet recorded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Transmit(u8, Vec<u8>),
    Deliver(u8, Vec<u8>),
    Link(u8, LinkRequest),
    Event(u8, Event),
}

/// Writes down all that a node says.
#[derive(Default)]
pub(crate) struct Notes(pub(crate) Vec<Told>);

impl Notes {
    /// The only packet that was sent, by which port, and nothing was delivered.
    pub(crate) fn transmitted(&self) -> Option<(u8, &[u8])> {
        match self.packets().as_slice() {
            [Told::Transmit(port, packet)] => Some((*port, packet)),
            _ => None,
        }
    }

    /// The only packet that was delivered, at which port, and nothing was sent.
    pub(crate) fn delivered(&self) -> Option<(u8, &[u8])> {
        match self.packets().as_slice() {
            [Told::Deliver(port, packet)] => Some((*port, packet)),
            _ => None,
        }
    }

    /// All that was sent or delivered.
    pub(crate) fn packets(&self) -> Vec<&Told> {
        self.0.iter().filter(|told| matches!(told, Told::Transmit(..) | Told::Deliver(..))).collect()
    }

    /// The events, all of which are of one port.
    pub(crate) fn events(&self) -> Vec<Event> {
        let event = |told: &Told| if let Told::Event(_, event) = told { Some(*event) } else { None };
        self.0.iter().filter_map(event).collect()
    }
}

impl Outlet for Notes {
    fn transmit(&mut self, port: PortNum, packet: &[u8]) {
        self.0.push(Told::Transmit(port.get(), packet.to_vec()));
    }
    fn deliver(&mut self, port: PortNum, packet: &[u8]) {
        self.0.push(Told::Deliver(port.get(), packet.to_vec()));
    }
    fn link(&mut self, port: PortNum, request: LinkRequest) {
        self.0.push(Told::Link(port.get(), request));
    }
    fn event(&mut self, port: PortNum, event: Event) {
        self.0.push(Told::Event(port.get(), event));
    }
}

/// The SMP in a packet.
pub(crate) fn smp(packet: &[u8]) -> Smp {
    SmpPacket::read_from_bytes(packet).expect("an SMP's packet").smp
}

/// The local route header of a packet.
pub(crate) fn lrh(packet: &[u8]) -> Lrh {
    Lrh::read_from_prefix(packet).expect("a packet").0
}

/// An SMP without data.
pub(crate) fn request(class: Class, method: Method, attribute: AttributeId, modifier: u32) -> Smp {
    let mut smp = Smp::default();
    smp.header.base_version = MadHeader::BASE_VERSION;
    smp.header.class = class;
    smp.header.class_version = Smp::CLASS_VERSION;
    smp.header.method = method;
    smp.header.attribute_id = attribute;
    smp.header.attribute_modifier = modifier.into();
    smp
}

/// A request by directed route, as its sender begins it.
pub(crate) fn directed(method: Method, attribute: AttributeId, modifier: u32, path: &[u8]) -> SmpPacket {
    let mut smp = request(Class::SUBN_DIRECTED_ROUTE, method, attribute, modifier);
    (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
    smp.set_hop_count(path.len() as u8);
    for (entry, &port) in smp.initial_path[1..].iter_mut().zip(path) {
        *entry = PortNum::new(port);
    }
    SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::default(), smp)
}

/// The same at its end, one hop from its sender: what a node's neighbour asks it.
pub(crate) fn from_neighbour(method: Method, attribute: AttributeId, modifier: u32) -> SmpPacket {
    let mut packet = directed(method, attribute, modifier, &[1]);
    packet.smp.set_hop_pointer(1);
    packet
}

/// A request that is routed by LIDs.
pub(crate) fn routed(method: Method, attribute: AttributeId, modifier: u32, slid: u16, dlid: u16) -> SmpPacket {
    let smp = request(Class::SUBN_LID_ROUTED, method, attribute, modifier);
    SmpPacket::new(Lid::new(slid), Lid::new(dlid), Sl::default(), smp)
}

/// A switch with this many ports.
pub(crate) fn switch(ports: u8) -> Switch {
    let node = NodeConfig::new(Guid::new(0x0200_0000_0000_1000), "switch");
    Switch::new(&SwitchConfig { node, ports, enforced_partitions: 32 }).expect("a switch")
}

/// An adapter with this many ports.
pub(crate) fn adapter(ports: u8) -> ChannelAdapter {
    let node = NodeConfig::new(Guid::new(0x0200_0000_0000_2000), "adapter");
    let port_guids = (1..=ports).map(|port| Guid::new(0x0200_0000_0000_2000 + u64::from(port))).collect();
    ChannelAdapter::new(&AdapterConfig { node, port_guids }).expect("an adapter")
}

/// A host's adapter, cabled to the uplink of a hypervisor. What it sends comes back before `send` returns.
pub(crate) struct Fabric {
    pub(crate) now: Time,
    pub(crate) host: ChannelAdapter,
    pub(crate) hsma: Hsma,
    pub(crate) lhcas: Vec<LhcaId>,
    /// Packets delivered to the host's consumers.
    pub(crate) at_host: Vec<Vec<u8>>,
    /// Packets delivered to LHCAs' consumers.
    pub(crate) at_lhcas: Vec<(LhcaId, PortNum, Vec<u8>)>,
    pub(crate) events: Vec<(LhcaId, PortNum, Event)>,
    pub(crate) links: Vec<LinkRequest>,
    /// Packets that went over the cable.
    pub(crate) on_cable: usize,
}

/// Output of a node or the HSMA, until the fabric acts on it.
#[derive(Default)]
pub(crate) struct Said {
    cable: Vec<Vec<u8>>,
    here: Vec<Vec<u8>>,
    lhcas: Vec<(LhcaId, PortNum, Vec<u8>)>,
    events: Vec<(LhcaId, PortNum, Event)>,
    links: Vec<LinkRequest>,
}

impl Said {
    /// Packets that left by the uplinks.
    pub(crate) fn cable(&self) -> &[Vec<u8>] {
        &self.cable
    }
}

impl Outlet for Said {
    fn transmit(&mut self, _: PortNum, packet: &[u8]) {
        self.cable.push(packet.to_vec());
    }
    fn deliver(&mut self, _: PortNum, packet: &[u8]) {
        self.here.push(packet.to_vec());
    }
    fn link(&mut self, _: PortNum, request: LinkRequest) {
        self.links.push(request);
    }
}

impl HsmaOutlet for Said {
    fn transmit(&mut self, _: UplinkId, packet: &[u8]) {
        self.cable.push(packet.to_vec());
    }
    fn deliver(&mut self, lhca: LhcaId, _: &ChannelAdapter, port: PortNum, packet: &[u8]) -> Result<(), Key> {
        self.lhcas.push((lhca, port, packet.to_vec()));
        Ok(())
    }
    fn link(&mut self, _: UplinkId, request: LinkRequest) {
        self.links.push(request);
    }
    fn event(&mut self, lhca: LhcaId, port: PortNum, event: Event) {
        self.events.push((lhca, port, event));
    }
}

pub(crate) const UPLINK: UplinkId = UplinkId(0);
pub(crate) const HOST_PORT: PortNum = PortNum::new(1);

/// The configuration of LHCA `number`, counted from 0, with one port.
pub(crate) fn lhca_config(number: u64) -> AdapterConfig {
    let guid = 0x0200_0000_0100_0000 + number * 0x100;
    let node = NodeConfig::new(Guid::new(guid), &format!("lhca {number}"));
    AdapterConfig { node, port_guids: vec![Guid::new(guid + 1)] }
}

impl Fabric {
    /// A fabric with this many LHCAs, all links up and nothing configured.
    pub(crate) fn new(lhcas: u8) -> Self {
        let node = NodeConfig::new(Guid::new(0x0200_0000_0000_3000), "logical switch");
        let hsma = Hsma::new(&[SwitchConfig { node, ports: lhcas + 1, enforced_partitions: 32 }]).expect("a switch");
        let mut fabric = Self {
            now: Time(1_000_000_000),
            host: adapter(1),
            hsma,
            lhcas: Vec::new(),
            at_host: Vec::new(),
            at_lhcas: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            on_cable: 0,
        };
        for number in 0..lhcas {
            let place = LogicalPort { uplink: UPLINK, port: PortNum::new(number + 2) };
            let id = fabric.hsma.add(&lhca_config(number.into()), &[place]).expect("room for it");
            fabric.lhcas.push(id);
            fabric.with_hsma(|hsma, now, out| hsma.plug(now, id, out));
        }
        fabric.cable(true);
        fabric
    }

    /// Plugs the cable in, or pulls it.
    pub(crate) fn cable(&mut self, up: bool) {
        if up {
            self.with_host(|host, now, out| host.link_up(now, HOST_PORT, Link::EDR_4X, out));
            self.with_hsma(|hsma, now, out| hsma.link_up(now, UPLINK, Link::EDR_4X, out));
        } else {
            self.with_host(|host, now, out| host.link_down(now, HOST_PORT, out));
            self.with_hsma(|hsma, now, out| hsma.link_down(now, UPLINK, out));
        }
    }

    /// Sends a packet from the host's consumer.
    pub(crate) fn send(&mut self, packet: &[u8]) {
        let mut packet = packet.to_vec();
        self.with_host(|host, now, out| host.send(now, HOST_PORT, &mut packet, out));
    }

    /// Sends a packet from the consumer of an LHCA's port 1.
    pub(crate) fn send_from(&mut self, lhca: LhcaId, packet: &[u8]) {
        let mut packet = packet.to_vec();
        self.with_hsma(|hsma, now, out| hsma.send(now, lhca, HOST_PORT, &mut packet, out));
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, millis: u64) {
        self.now = Time(self.now.0 + millis * 1_000_000);
        self.with_host(|host, now, out| {
            host.poll(now, out);
        });
        self.with_hsma(|hsma, now, out| {
            hsma.poll(now, out);
        });
    }

    pub(crate) fn with_host(&mut self, act: impl FnOnce(&mut ChannelAdapter, Time, &mut Said)) {
        let mut said = Said::default();
        act(&mut self.host, self.now, &mut said);
        self.at_host.append(&mut said.here);
        self.links.append(&mut said.links);
        self.carry_to_hsma(said.cable);
    }

    fn carry_to_hsma(&mut self, packets: Vec<Vec<u8>>) {
        for mut packet in packets {
            self.on_cable += 1;
            self.with_hsma(|hsma, now, out| hsma.receive(now, UPLINK, &mut packet, out));
        }
    }

    fn carry_to_host(&mut self, packets: Vec<Vec<u8>>) {
        for mut packet in packets {
            self.on_cable += 1;
            self.with_host(|host, now, out| host.receive(now, HOST_PORT, &mut packet, out));
        }
    }

    pub(crate) fn with_hsma(&mut self, act: impl FnOnce(&mut Hsma, Time, &mut Said)) {
        let mut said = Said::default();
        act(&mut self.hsma, self.now, &mut said);
        self.at_lhcas.append(&mut said.lhcas);
        self.events.append(&mut said.events);
        self.links.append(&mut said.links);
        self.carry_to_host(said.cable);
    }
}

/// A packet of the transport with a global route header before the transport's.
pub(crate) fn over_global_route(packet: &[u8], mut grh: Grh) -> Vec<u8> {
    grh.next_header = Grh::NEXT_HEADER_BTH;
    grh.payload_length = ((packet.len() - size_of::<Lrh>() + 4) as u16).into();
    let (head, tail) = packet.split_at(size_of::<Lrh>());
    let mut bytes = [head, grh.as_bytes(), tail].concat();
    let words = (bytes.len() / 4 + 1) as u16;
    let (lrh, _) = Lrh::mut_from_prefix(&mut bytes).expect("a packet");
    lrh.set_next_header(NextHeader::Grh);
    lrh.set_packet_length(words);
    bytes
}

/// A global route header between these.
pub(crate) fn between(sgid: Gid, dgid: Gid) -> Grh {
    let mut grh = Grh::default();
    grh.set_ip_version(6);
    (grh.sgid, grh.dgid, grh.hop_limit) = (sgid, dgid, 1);
    grh
}

/// A packet's bytes.
pub(crate) fn bytes(packet: &SmpPacket) -> Vec<u8> {
    packet.as_bytes().to_vec()
}
