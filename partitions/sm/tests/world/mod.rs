//! A fabric in memory, the same at each run: nodes of `subnet`, wires between them that may lose, repeat and delay
//! packets, and managers at ports.
#![allow(dead_code, clippy::cast_possible_truncation)] // each test uses a part; the numbers of tests are small

use std::cmp::Reverse;
pub(crate) mod ask;
mod look;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use iba::attr::{LinkWidth, PortState, SmState};
use iba::mad::{Class, Mad, Method};
use iba::notice::Notice;
use iba::packet::{MadPacket, Packet, SmpPacket, parse};
use iba::sa::SaMad;
use iba::smp::Smp;
use iba::{Guid, Lid, PortNum, ProducerType, Qpn, Sl};
use subnet::{
    AdapterConfig, ChannelAdapter, Hsma, HsmaOutlet, Key, LhcaId, Link, LinkRequest, LogicalPort, Node, NodeConfig,
    Outlet, Switch, SwitchConfig, Time, UPLINK, UplinkId,
};
use subnet_manager::{Address, Config, Event, Manager, SweepReport};
use zerocopy::{FromBytes, IntoBytes, transmute};

/// A port: its node in the order of adding, and its number.
pub(crate) type At = (usize, u8);

enum Member {
    Node(Node),
    Hsma(Hsma),
}

/// Where a manager is: at a port of a node, or of an LHCA of an HSMA.
#[derive(Clone, Copy, PartialEq)]
struct Seat {
    member: usize,
    lhca: Option<LhcaId>,
    port: u8,
}

struct Sm {
    seat: Seat,
    manager: Manager,
    told: Vec<Event>,
    is_dead: bool,
}

/// Faults of a packet on a wire, in chances of 1,000, and its greatest delay in nanoseconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) loss: u64,
    pub(crate) duplicate: u64,
    pub(crate) jitter: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Packet(At, Vec<u8>),
    Up(At),
    Poll(usize),
    Manage(usize),
    Deliver(usize, Option<u16>, u8, Vec<u8>),
}

/// The fabric.
pub(crate) struct World {
    pub(crate) now: u64,
    members: Vec<Member>,
    wires: BTreeMap<At, At>,
    pulled: BTreeSet<At>,
    /// Ports whose links have one lane only.
    pub(crate) slow: BTreeSet<At>,
    /// Nodes that do not react to anything.
    pub(crate) mute: BTreeSet<usize>,
    pub(crate) faults: Faults,
    /// `true` if all traps of adapters' agents are lost.
    pub(crate) no_traps: bool,
    random: u64,
    queue: BinaryHeap<Reverse<(u64, u64, What)>>,
    queued: u64,
    sms: Vec<Sm>,
    /// Sets of subnet management that managers sent.
    pub(crate) sets: usize,
    /// Number of requests to consumers at each node to register again.
    pub(crate) reregistered: BTreeMap<usize, usize>,
    /// Datagrams that came to ports without managers, by their nodes.
    pub(crate) others: Vec<(usize, Mad)>,
}

/// Output of a member.
#[derive(Default)]
struct Said {
    cable: Vec<(u8, Vec<u8>)>,
    here: Vec<(Option<LhcaId>, u8, Vec<u8>)>,
    links: Vec<(u8, LinkRequest)>,
    reregister: usize,
}

impl Outlet for Said {
    fn transmit(&mut self, port: PortNum, packet: &[u8]) {
        self.cable.push((port.get(), packet.to_vec()));
    }
    fn deliver(&mut self, port: PortNum, packet: &[u8]) {
        self.here.push((None, port.get(), packet.to_vec()));
    }
    fn link(&mut self, port: PortNum, request: LinkRequest) {
        self.links.push((port.get(), request));
    }
    fn event(&mut self, _: PortNum, event: subnet::Event) {
        self.reregister += usize::from(event == subnet::Event::ClientReregister);
    }
}

impl HsmaOutlet for Said {
    fn transmit(&mut self, uplink: UplinkId, packet: &[u8]) {
        self.cable.push((uplink.0 + 1, packet.to_vec()));
    }
    fn deliver(&mut self, lhca: LhcaId, _: &ChannelAdapter, port: PortNum, packet: &[u8]) -> Result<(), Key> {
        self.here.push((Some(lhca), port.get(), packet.to_vec()));
        Ok(())
    }
    fn link(&mut self, uplink: UplinkId, request: LinkRequest) {
        self.links.push((uplink.0 + 1, request));
    }
}

/// Output of a manager.
#[derive(Default)]
struct Sent(Vec<(Address, [u8; 256])>, Vec<Event>);

impl subnet_manager::Outlet for Sent {
    fn send(&mut self, to: &Address, mad: &[u8; 256]) {
        self.0.push((*to, *mad));
    }
    fn tell(&mut self, event: Event) {
        self.1.push(event);
    }
}

/// Returns `true` if a packet is a trap of an adapter's agent.
fn is_trap(packet: &[u8]) -> bool {
    let Ok(packet) = SmpPacket::read_from_bytes(packet) else { return false };
    let producer = packet.smp.attribute::<Notice>().producer;
    packet.smp.header.method == Method::TRAP && producer == ProducerType::CHANNEL_ADAPTER
}

fn guid(member: usize) -> Guid {
    Guid::new(0x0200_0000_0000_0000 + (member as u64 + 1) * 0x1_0000)
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: 1_000_000_000,
            members: Vec::new(),
            wires: BTreeMap::new(),
            pulled: BTreeSet::new(),
            slow: BTreeSet::new(),
            mute: BTreeSet::new(),
            faults: Faults::default(),
            no_traps: false,
            random: seed.wrapping_mul(2) + 1,
            queue: BinaryHeap::new(),
            queued: 0,
            sms: Vec::new(),
            sets: 0,
            reregistered: BTreeMap::new(),
            others: Vec::new(),
        }
    }

    pub(crate) fn switch(&mut self, ports: u8) -> usize {
        let node = NodeConfig::new(guid(self.members.len()), "switch");
        let switch = Switch::new(&SwitchConfig { node, ports, enforced_partitions: 32 }).unwrap();
        self.add(Member::Node(Node::Switch(switch)))
    }

    pub(crate) fn adapter(&mut self, ports: u8) -> usize {
        self.twin(self.members.len(), self.members.len(), ports)
    }

    /// An adapter with the GUID that node `one` has, or would have, and the port GUIDs of node `other`.
    pub(crate) fn twin(&mut self, one: usize, other: usize, ports: u8) -> usize {
        let config = AdapterConfig {
            node: NodeConfig::new(guid(one), "adapter"),
            port_guids: (1..=u64::from(ports)).map(|port| Guid::new(guid(other).get() + port)).collect(),
        };
        self.add(Member::Node(Node::ChannelAdapter(ChannelAdapter::new(&config).unwrap())))
    }

    /// A hypervisor with one port and this many LHCAs.
    pub(crate) fn hypervisor(&mut self, lhcas: u8) -> usize {
        let first = guid(self.members.len());
        let node = NodeConfig::new(first, "logical switch");
        let mut hsma = Hsma::new(&[SwitchConfig { node, ports: lhcas + 1, enforced_partitions: 32 }]).unwrap();
        for number in 0..lhcas {
            let own = Guid::new(first.get() + 0x10 * (u64::from(number) + 1));
            let node = NodeConfig::new(own, "lhca");
            let config = AdapterConfig { node, port_guids: vec![Guid::new(own.get() + 1)] };
            let place = LogicalPort { uplink: UplinkId(0), port: PortNum::new(UPLINK.get() + 1 + number) };
            let lhca = hsma.add(&config, &[place]).unwrap();
            hsma.plug(Time(self.now), lhca, &mut Said::default());
        }
        self.add(Member::Hsma(hsma))
    }

    fn add(&mut self, member: Member) -> usize {
        self.members.push(member);
        self.members.len() - 1
    }

    /// Plugs a cable in.
    pub(crate) fn cable(&mut self, one: At, other: At) {
        self.wires.insert(one, other);
        self.wires.insert(other, one);
        self.plug(one);
    }

    /// Plugs a cable in again.
    pub(crate) fn plug(&mut self, one: At) {
        let other = self.wires[&one];
        for at in [one, other] {
            self.pulled.remove(&at);
            self.push(self.now, What::Up(at));
        }
    }

    /// Pulls a cable; what is on it is lost.
    pub(crate) fn pull(&mut self, one: At) {
        let other = self.wires[&one];
        for at in [one, other] {
            self.pulled.insert(at);
            self.with(at.0, |member, now, out| match member {
                Member::Node(node) => node.link_down(now, PortNum::new(at.1), out),
                Member::Hsma(hsma) => hsma.link_down(now, UplinkId(at.1 - 1), out),
            });
        }
    }

    /// Has a manager begin at a node's port, or, with an LHCA's number, at its port.
    pub(crate) fn manager(&mut self, member: usize, lhca: Option<u16>, port: u8, config: Config) -> usize {
        let seat = Seat { member, lhca: lhca.map(LhcaId), port };
        let number = PortNum::new(port);
        let guid = match (&self.members[member], seat.lhca) {
            (Member::Hsma(hsma), Some(lhca)) => hsma.lhca(lhca).unwrap().port_guid(number),
            (Member::Node(node), _) => node.port_guid(number),
            _ => None,
        };
        self.set_is_sm(seat, true);
        let manager = Manager::new(guid.unwrap(), config, Duration::from_nanos(self.now));
        self.sms.push(Sm { seat, manager, told: Vec::new(), is_dead: false });
        let index = self.sms.len() - 1;
        self.push(self.now, What::Manage(index));
        index
    }

    /// Kills a manager.
    pub(crate) fn kill(&mut self, manager: usize) {
        self.sms[manager].is_dead = true;
        self.set_is_sm(self.sms[manager].seat, false);
    }

    fn set_is_sm(&mut self, seat: Seat, is_sm: bool) {
        let port = PortNum::new(seat.port);
        self.with(seat.member, |member, now, out| match (member, seat.lhca) {
            (Member::Hsma(hsma), Some(lhca)) => hsma.set_is_sm(now, lhca, port, is_sm, out),
            (Member::Node(node), _) => node.set_is_sm(now, port, is_sm, out),
            _ => unreachable!(),
        });
    }

    /// The state of a node's port.
    pub(crate) fn port_state(&self, at: At) -> PortState {
        let Member::Node(node) = &self.members[at.0] else { panic!("{at:?} is behind a logical switch") };
        node.port_info(PortNum::new(at.1)).unwrap().port_state()
    }

    pub(crate) fn state(&self, manager: usize) -> SmState {
        self.sms[manager].manager.state()
    }

    /// The sweeps that a manager told of.
    pub(crate) fn sweeps(&self, manager: usize) -> Vec<SweepReport> {
        let report = |event: &Event| if let Event::Swept(report) = event { Some(*report) } else { None };
        self.sms[manager].told.iter().filter_map(report).collect()
    }

    pub(crate) fn told(&self, manager: usize) -> &[Event] {
        &self.sms[manager].told
    }

    fn push(&mut self, at: u64, what: What) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, what)));
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, millis: u64) {
        let end = self.now + millis * 1_000_000;
        self.run_until(end, |_| false);
        self.now = end;
    }

    /// Lets time pass until `done`, which must come within a minute.
    pub(crate) fn wait(&mut self, what: &str, done: impl FnMut(&mut Self) -> bool) {
        assert!(self.run_until(self.now + 60_000_000_000, done), "no {what} within a minute");
    }

    /// Lets time pass until `done`, and says whether that came within `millis`.
    pub(crate) fn wait_for(&mut self, millis: u64, done: impl FnMut(&mut Self) -> bool) -> bool {
        self.run_until(self.now + millis * 1_000_000, done)
    }

    /// Lets `events` happen: packets that arrive, and timers.
    pub(crate) fn step(&mut self, events: usize) {
        let mut left = events + 1;
        self.wait("event", |_| {
            left -= 1;
            left == 0
        });
    }

    /// Waits for a sweep of `manager` without failures that nothing is to follow, and that began after now.
    pub(crate) fn settle(&mut self, manager: usize) -> SweepReport {
        self.wait("master", |world| world.state(manager) == SmState::MASTER);
        let mut quiet = (self.now, self.sweeps(manager).len());
        self.wait("sweep", |world| {
            let sweeps = world.sweeps(manager);
            if sweeps.len() != quiet.1 {
                quiet = (world.now, sweeps.len());
            }
            sweeps.last().is_some_and(|last| last.failures == 0) && world.now > quiet.0 + 2_000_000_000
        });
        *self.sweeps(manager).last().unwrap()
    }

    fn run_until(&mut self, end: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        while !done(self) {
            match self.queue.peek() {
                Some(Reverse((at, ..))) if *at <= end => {}
                _ => return false,
            }
            let Some(Reverse((at, _, what))) = self.queue.pop() else { return false };
            self.now = self.now.max(at);
            match what {
                What::Packet(at, mut packet) => {
                    if !self.pulled.contains(&at) {
                        self.with(at.0, |member, now, out| match member {
                            Member::Node(node) => node.receive(now, PortNum::new(at.1), &mut packet, out),
                            Member::Hsma(hsma) => hsma.receive(now, UplinkId(at.1 - 1), &mut packet, out),
                        });
                    }
                }
                What::Up(at) => {
                    let width = if self.slow.contains(&at) { LinkWidth::X1 } else { LinkWidth::X4 };
                    let link = Link { width, ..Link::EDR_4X };
                    if !self.pulled.contains(&at) {
                        self.with(at.0, |member, now, out| match member {
                            Member::Node(node) => node.link_up(now, PortNum::new(at.1), link, out),
                            Member::Hsma(hsma) => hsma.link_up(now, UplinkId(at.1 - 1), link, out),
                        });
                    }
                }
                What::Poll(member) => self.with(member, |_, _, _| {}),
                What::Manage(sm) => self.manage(sm, None),
                What::Deliver(member, lhca, port, packet) => {
                    self.deliver(Seat { member, lhca: lhca.map(LhcaId), port }, &packet);
                }
            }
        }
        true
    }

    fn with(&mut self, index: usize, act: impl FnOnce(&mut Member, Time, &mut Said)) {
        if self.mute.contains(&index) {
            return;
        }
        let mut said = Said::default();
        let now = Time(self.now);
        let member = &mut self.members[index];
        act(member, now, &mut said);
        let deadline = match member {
            Member::Node(node) => node.poll(now, &mut said),
            Member::Hsma(hsma) => hsma.poll(now, &mut said),
        };
        if let Some(Time(deadline)) = deadline {
            self.push(deadline, What::Poll(index));
        }
        *self.reregistered.entry(index).or_default() += said.reregister;
        for (port, packet) in said.cable {
            self.carry((index, port), &packet);
        }
        for (port, request) in said.links {
            assert_eq!(request, LinkRequest::Retrain, "a manager of ours switches nothing off");
            if self.wires.contains_key(&(index, port)) {
                self.pull((index, port));
                self.plug((index, port));
            }
        }
        for (lhca, port, packet) in said.here {
            self.push(self.now, What::Deliver(index, lhca.map(|lhca| lhca.0), port, packet));
        }
    }

    fn chance(&mut self, of_thousand: u64) -> bool {
        self.random(1000) < of_thousand
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    fn carry(&mut self, from: At, packet: &[u8]) {
        let Some(&to) = self.wires.get(&from) else { return };
        if self.no_traps && is_trap(packet) {
            return;
        }
        let copies = 1 + usize::from(self.chance(self.faults.duplicate));
        for _ in 0..copies {
            if !self.chance(self.faults.loss) {
                let late = self.random(self.faults.jitter);
                self.push(self.now + 1_000 + late, What::Packet(to, packet.to_vec()));
            }
        }
    }

    fn deliver(&mut self, seat: Seat, packet: &[u8]) {
        let Ok(Packet::Transport(packet)) = parse(packet) else { panic!("no packet") };
        let Some(sm) = self.sms.iter().position(|sm| sm.seat == seat && !sm.is_dead) else {
            self.others.extend(Mad::read_from_bytes(packet.payload).map(|mad| (seat.member, mad)));
            return;
        };
        let (Some(deth), Ok(mad)) = (packet.deth, <[u8; 256]>::read_from_bytes(packet.payload)) else { return };
        let from = Address { lid: packet.lrh.slid, qp: deth.src_qp, sl: packet.lrh.sl() };
        self.manage(sm, Some((from, mad)));
    }

    fn manage(&mut self, index: usize, received: Option<(Address, [u8; 256])>) {
        let now = Duration::from_nanos(self.now);
        let Sm { seat, manager, told, is_dead } = &mut self.sms[index];
        if *is_dead {
            return;
        }
        let mut sent = Sent::default();
        let next = match received {
            Some((from, mad)) => manager.receive(now, &from, &mad, &mut sent),
            None => manager.poll(now, &mut sent),
        };
        told.append(&mut sent.1);
        let seat = *seat;
        self.push(u64::try_from(next.as_nanos()).unwrap_or(u64::MAX), What::Manage(index));
        for (to, mad) in sent.0 {
            self.submit(seat, &to, mad);
        }
    }

    fn submit(&mut self, seat: Seat, to: &Address, mad: [u8; 256]) {
        let mut packet = if to.qp == Qpn::SMI {
            let smp: Smp = transmute!(mad);
            self.sets += usize::from(smp.header.method == Method::SET && smp.header.class != Class::SUBN_ADM);
            SmpPacket::new(Lid::PERMISSIVE, to.lid, to.sl, smp).as_bytes().to_vec()
        } else {
            let mut packet = MadPacket::new(Lid::UNASSIGNED, to.lid, to.sl, transmute!(mad));
            packet.header.bth.dest_qp = to.qp;
            packet.as_bytes().to_vec()
        };
        let port = PortNum::new(seat.port);
        self.with(seat.member, |member, now, out| match (member, seat.lhca) {
            (Member::Hsma(hsma), Some(lhca)) => hsma.send(now, lhca, port, &mut packet, out),
            (Member::Node(node), _) => node.send(now, port, &mut packet, out),
            _ => unreachable!(),
        });
    }

    /// Sends `mad` from port 1 of an adapter to queue pair 1 of its master.
    pub(crate) fn ask(&mut self, member: usize, mad: &SaMad) {
        let to = Address { lid: self.master_of(member), qp: Qpn::GSI, sl: Sl::default() };
        self.submit(Seat { member, lhca: None, port: 1 }, &to, transmute!(*mad));
    }

    /// Has chance take another course.
    pub(crate) fn seed(&mut self, seed: u64) {
        self.random = seed.wrapping_mul(2) + 1;
    }
}
