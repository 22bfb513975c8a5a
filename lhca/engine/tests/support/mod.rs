//! A hypervisor in one process: partitions with the real driver, the engine, and the HSMA; a subnet manager at the
//! cable.
#![allow(dead_code, unreachable_pub)] // each test file uses its part
#![allow(clippy::unwrap_used)] // a test's own error is to stop the test
#![allow(clippy::cast_possible_truncation)] // this process's addresses have 64 bits
#![allow(unsafe_code)] // reaches the partitions' memory by address, as a hypervisor does

use std::fmt::Debug;
use std::marker::PhantomData;
use std::ptr::with_exposed_provenance_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use iba::attr::{PortInfo, PortPhysicalState, PortState, SwitchInfo};
use iba::mad::{AttributeId, Class, MadHeader, Method};
use iba::packet::SmpPacket;
use iba::smp::Smp;
use iba::{Guid, Lid, PortNum, Sl};
use lhca_contract::ring::{self, ENTRIES};
use lhca_contract::{
    Call, Completion, QueuePairChange, QueuePairFields, QueuePairKind, QueuePairState, ReceiveEntry, Segment,
    SendEntry, Status, VERSION, cpuid,
};
use lhca_driver::{CompletionQueue, Lhca, Line, NewQueuePair, Platform, QueuePair, RingMemory};
use lhca_engine::{BadAddress, Guest, LogicalFabric, Policy, Ring, Wire};
use subnet::{AdapterConfig, Hsma, LhcaId, Link, LinkRequest, LogicalPort, NodeConfig, SwitchConfig, Time, UplinkId};
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub const UPLINK: UplinkId = UplinkId(0);
pub const PORT: PortNum = PortNum::new(1);

/// The hypervisor, and all that its partitions see of it.
pub struct World {
    pub logical: Mutex<LogicalFabric<Host>>,
    pub cable: Mutex<Cable>,
    /// In nanoseconds.
    pub now: AtomicU64,
    /// Number of doorbells.
    pub bells: AtomicU32,
}

/// The cable: what came out of it.
#[derive(Default)]
pub struct Cable(pub Vec<Vec<u8>>);

impl Wire for Cable {
    fn transmit(&mut self, _: UplinkId, packet: &[u8]) {
        self.0.push(packet.to_vec());
    }
    fn link(&mut self, _: UplinkId, _: LinkRequest) {}
}

/// A partition's memory: this process's own. The first 64 KiB and all beyond user space are no memory.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    pub interrupts: &'static Mutex<Vec<u8>>,
}

fn place<T>(address: u64, length: usize) -> Result<*mut T, BadAddress> {
    let end = address.checked_add(length as u64).ok_or(BadAddress)?;
    let inside = address >= 0x1_0000 && end < 1 << 47 && (address as usize).is_multiple_of(align_of::<T>());
    if inside { Ok(with_exposed_provenance_mut(address as usize)) } else { Err(BadAddress) }
}

impl Guest for Host {
    type Ring<E> = HostRing<E>;

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress> {
        let start = place::<u8>(address, into.len())?;
        for (nth, byte) in into.iter_mut().enumerate() {
            // SAFETY: tests name only memory that lives, and whose address they have exposed.
            *byte = unsafe { AtomicU8::from_ptr(start.add(nth)) }.load(Ordering::Relaxed);
        }
        Ok(())
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), BadAddress> {
        let start = place::<u8>(address, from.len())?;
        for (nth, byte) in from.iter().enumerate() {
            // SAFETY: as above.
            unsafe { AtomicU8::from_ptr(start.add(nth)) }.store(*byte, Ordering::Relaxed);
        }
        Ok(())
    }

    fn ring<E>(&self, address: u64, log_entries: u8) -> Result<HostRing<E>, BadAddress> {
        let words = (size_of::<E>() / 8) << log_entries;
        let start = place::<AtomicU64>(address, ring::bytes(log_entries, size_of::<E>()))?;
        // SAFETY: as above, and tests' rings are leaked; the address is aligned.
        let (control, entries) = unsafe { (&*start.cast(), std::slice::from_raw_parts(start.add(ENTRIES / 8), words)) };
        Ok(HostRing { control, entries, of: PhantomData })
    }

    fn copy(&self, address: u64, other: &Self, to: u64, skipped: usize, length: usize) -> Result<(), BadAddress> {
        let mut bytes = vec![0; length];
        self.read(address, &mut bytes)?;
        other.write(to + skipped as u64, &bytes)
    }

    fn interrupt(&self, vector: u8) {
        self.interrupts.lock().unwrap().push(vector);
    }
}

/// A ring in a partition's memory.
pub struct HostRing<E> {
    control: &'static [AtomicU32; ENTRIES / 4],
    entries: &'static [AtomicU64],
    of: PhantomData<fn(E)>,
}

impl<E> Debug for HostRing<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostRing").field("mask", &self.mask()).finish_non_exhaustive()
    }
}

impl<E> Ring for HostRing<E> {
    type Entry = E;

    fn mask(&self) -> u32 {
        (self.entries.len() / (size_of::<E>() / 8)) as u32 - 1
    }
    fn control(&self) -> &[AtomicU32; ENTRIES / 4] {
        self.control
    }
    fn entry(&self, index: u32) -> &[AtomicU64] {
        let words = size_of::<E>() / 8;
        &self.entries[(index & self.mask()) as usize * words..][..words]
    }
}

/// The machine that one partition runs on.
#[derive(Clone, Copy)]
pub struct Machine {
    pub world: &'static World,
    pub id: LhcaId,
    pub guest: Host,
}

impl Platform for Machine {
    fn cpuid(&self, leaf: u32) -> [u32; 4] {
        let word = |at: usize| u32::from_le_bytes(*cpuid::SIGNATURE[at..].first_chunk().unwrap());
        match leaf {
            1 => [0, 0, 1 << 31, 0],
            cpuid::SIGNATURE_LEAF => [cpuid::VERSION_LEAF, word(0), word(4), word(8)],
            _ => [VERSION, 0, 0, 0],
        }
    }

    fn call(&self, call: Call, arguments: [u64; 3]) -> (Status, u64) {
        let (mut logical, mut cable) = (self.world.logical.lock().unwrap(), self.world.cable.lock().unwrap());
        if call == Call::DOORBELL {
            self.world.bells.fetch_add(1, Ordering::Relaxed);
            if logical.pass(self.world.time(), self.id, arguments[0]) != lhca_engine::Doorbell::Unfinished {
                return (Status::OK, 0);
            }
        }
        match logical.call(self.world.time(), self.id, call, arguments, &mut *cable) {
            Ok(value) => (Status::OK, value),
            Err(status) => (status, 0),
        }
    }

    fn physical(&self, pointer: *const u8) -> u64 {
        pointer.expose_provenance() as u64
    }
}

/// The LID of the LHCA with this number, once it has one.
pub fn lid(nth: u16) -> Lid {
    Lid::new(10 + nth)
}

/// The subnet manager's LID, at the other end of the cable.
pub const SM: Lid = Lid::new(1);

/// A hypervisor with `count` partitions, all ports Active.
pub fn world(count: u16, policy: Policy) -> (&'static World, Vec<Machine>) {
    let switch = SwitchConfig {
        node: NodeConfig::new(Guid::new(0x0200_0000_0000_0100), "switch"),
        ports: u8::try_from(count + 1).unwrap(),
        enforced_partitions: 32,
    };
    let mut hsma = Hsma::new(&[switch]).unwrap();
    for nth in 0..count {
        let guid = 0x0200_0000_0000_1000 + 16 * u64::from(nth);
        let port = PortNum::new(u8::try_from(nth + 2).unwrap());
        let node = NodeConfig::new(Guid::new(guid), "lhca");
        let config = AdapterConfig { node, port_guids: vec![Guid::new(guid + 1)] };
        hsma.add(&config, &[LogicalPort { uplink: UPLINK, port }]).unwrap();
    }
    let (world, machines) = world_of(hsma, count, policy);
    world.link_up();
    world.configure(count);
    world.take();
    (world, machines)
}

/// Creates a hypervisor with `count` partitions, whose ports no SM has configured.
pub fn world_of(hsma: Hsma, count: u16, policy: Policy) -> (&'static World, Vec<Machine>) {
    let world = World {
        logical: Mutex::new(LogicalFabric::new(hsma)),
        cable: Mutex::default(),
        now: AtomicU64::new(1),
        bells: AtomicU32::new(0),
    };
    let world: &'static World = Box::leak(Box::new(world));
    let machine = |nth| {
        let guest = Host { interrupts: Box::leak(Box::default()) };
        let id = LhcaId(nth);
        let mut cable = world.cable.lock().unwrap();
        world.logical.lock().unwrap().attach(Time(1), id, guest, policy, &mut *cable);
        Machine { world, id, guest }
    };
    let machines = (0..count).map(machine).collect();
    (world, machines)
}

impl World {
    fn link_up(&self) {
        let (mut logical, mut cable) = (self.logical.lock().unwrap(), self.cable.lock().unwrap());
        let (hsma, mut out) = logical.split(Time(1), &mut *cable);
        hsma.link_up(Time(1), UPLINK, Link::EDR_4X, &mut out);
    }

    pub fn time(&self) -> Time {
        Time(self.now.load(Ordering::Relaxed))
    }

    /// Packets on the cable.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.cable.lock().unwrap().0)
    }

    /// A packet comes in by the cable.
    pub fn receive(&self, packet: &[u8]) {
        let (mut logical, mut cable) = (self.logical.lock().unwrap(), self.cable.lock().unwrap());
        let (hsma, mut out) = logical.split(Time(1), &mut *cable);
        hsma.receive(Time(1), UPLINK, &mut packet.to_vec(), &mut out);
    }

    /// Lets the engine do what it left for later; whether there is still more.
    pub fn serve(&self) -> bool {
        let (mut logical, mut cable) = (self.logical.lock().unwrap(), self.cable.lock().unwrap());
        logical.serve(self.time(), &mut *cable)
    }

    /// The subnet manager asks along a directed route, which begins at the switch.
    pub fn ask(
        &self,
        method: Method,
        attribute: AttributeId,
        modifier: u32,
        route: &[u8],
        fill: impl FnOnce(&mut Smp),
    ) -> Smp {
        let mut smp = Smp::default();
        smp.header.base_version = MadHeader::BASE_VERSION;
        (smp.header.class, smp.header.class_version) = (Class::SUBN_DIRECTED_ROUTE, 1);
        (smp.header.method, smp.header.attribute_id) = (method, attribute);
        smp.header.attribute_modifier = modifier.into();
        (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
        smp.set_hop_pointer(1);
        smp.set_hop_count(u8::try_from(route.len() + 1).unwrap());
        smp.initial_path[1] = PORT;
        for (hop, &port) in smp.initial_path[2..].iter_mut().zip(route) {
            *hop = PortNum::new(port);
        }
        fill(&mut smp);
        let before = self.cable.lock().unwrap().0.len();
        self.receive(SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::new(0), smp).as_bytes());
        let cable = self.cable.lock().unwrap();
        let answers = cable.0[before..].iter().filter_map(|packet| SmpPacket::read_from_bytes(packet).ok());
        let answer = answers.map(|packet| packet.smp).find(|smp| smp.header.method == Method::GET_RESP);
        answer.expect("an answer")
    }

    /// PortInfo as the subnet manager sees it.
    pub fn port_info(&self, port: u32, route: &[u8]) -> PortInfo {
        *self.ask(Method::GET, AttributeId::PORT_INFO, port, route, |_| {}).attribute()
    }

    pub fn set_port(&self, port: u32, route: &[u8], change: impl FnOnce(&mut PortInfo)) {
        let mut info = self.port_info(port, route);
        info.set_port_state(PortState::NO_CHANGE);
        info.set_physical_state(PortPhysicalState::NO_CHANGE);
        info.master_sm_lid = SM;
        change(&mut info);
        self.ask(Method::SET, AttributeId::PORT_INFO, port, route, |smp| smp.set_attribute(&info));
    }

    /// The LHCA with this number gets its LID, and is Active.
    fn activate(&self, nth: u16) {
        let port = u8::try_from(nth + 2).unwrap();
        self.set_port(1, &[port], |info| info.lid = lid(nth));
        for state in [PortState::ARMED, PortState::ACTIVE] {
            self.set_port(port.into(), &[], |info| info.set_port_state(state));
            self.set_port(1, &[port], |info| info.set_port_state(state));
        }
    }

    /// A partition ends, and its successor begins, with the same port and its LID.
    pub fn restart(&self, machine: &Machine) {
        {
            let (mut logical, mut cable) = (self.logical.lock().unwrap(), self.cable.lock().unwrap());
            let guest = logical.detach(self.time(), machine.id, &mut *cable).unwrap();
            logical.attach(self.time(), machine.id, guest, Policy::default(), &mut *cable);
        }
        self.activate(machine.id.0);
        self.take();
    }

    /// Configures the subnet as a subnet manager does: LIDs, routes, and every port Active.
    fn configure(&self, count: u16) {
        self.set_port(0, &[], |info| info.lid = Lid::new(3));
        self.ask(Method::SET, AttributeId::LINEAR_FORWARDING_TABLE, 0, &[], |smp| {
            smp.data.fill(0xff);
            (smp.data[1], smp.data[3]) = (1, 0);
            for nth in 0..count {
                smp.data[usize::from(lid(nth).get())] = u8::try_from(nth + 2).unwrap();
            }
        });
        let mut info: SwitchInfo = *self.ask(Method::GET, AttributeId::SWITCH_INFO, 0, &[], |_| {}).attribute();
        info.linear_fdb_top = 63.into();
        self.ask(Method::SET, AttributeId::SWITCH_INFO, 0, &[], |smp| smp.set_attribute(&info));
        for nth in 0..count {
            self.activate(nth);
        }
        for state in [PortState::ARMED, PortState::ACTIVE] {
            self.set_port(1, &[], |info| info.set_port_state(state));
        }
    }
}

pub fn memory<E: FromBytes + IntoBytes + Immutable>(log_entries: u8) -> RingMemory<E> {
    RingMemory::new(vec![Line::ZERO; RingMemory::<E>::lines(log_entries)].leak(), log_entries)
}

/// A queue pair with its completion queue, at a partition.
pub struct End {
    pub lhca: Lhca<Machine>,
    pub completions: CompletionQueue,
    pub pair: QueuePair,
    pub send_memory: u64,
    pub completion_memory: u64,
}

pub const Q_KEY: u32 = 0x1234;
pub const CQ_VECTOR: u8 = 40;
pub const ROOM_VECTOR: u8 = 41;

impl End {
    /// A queue pair that is ready to send.
    pub fn new(machine: &Machine, kind: QueuePairKind) -> Self {
        Self::with_room(machine, kind, 4, 6).ready()
    }

    /// A queue pair in state Reset, with room for 2 to the power `log_sends` requests, and `log_completions`
    /// completions.
    pub fn with_room(machine: &Machine, kind: QueuePairKind, log_sends: u8, log_completions: u8) -> Self {
        let lhca = Lhca::probe(*machine).unwrap();
        let lines = vec![Line::ZERO; RingMemory::<Completion>::lines(log_completions)].leak();
        let completion_memory = lines.as_mut_ptr().expose_provenance() as u64;
        let completions = RingMemory::new(lines, log_completions);
        let completions = CompletionQueue::create(&lhca, completions, CQ_VECTOR).unwrap();
        let lines = vec![Line::ZERO; RingMemory::<SendEntry>::lines(log_sends)].leak();
        let send_memory = lines.as_mut_ptr().expose_provenance() as u64;
        let new = NewQueuePair {
            kind,
            port: PORT,
            send: RingMemory::new(lines, log_sends),
            receive: memory(7),
            send_completions: &completions,
            receive_completions: &completions,
            vector: ROOM_VECTOR,
        };
        let pair = QueuePair::create(&lhca, new).unwrap();
        Self { lhca, completions, pair, send_memory, completion_memory }
    }

    pub fn modify(&mut self, change: QueuePairChange) -> Result<(), Status> {
        self.pair.modify(&self.lhca, &change).map_err(|error| error.status)
    }

    pub fn to(&mut self, state: QueuePairState) -> Result<(), Status> {
        self.modify(QueuePairChange { fields: QueuePairFields::STATE, state, ..Default::default() })
    }

    pub fn ready(mut self) -> Self {
        if self.pair.attributes(&self.lhca).unwrap().config.kind == QueuePairKind::UD {
            let fields = QueuePairFields::all();
            let (state, q_key) = (QueuePairState::INIT, Q_KEY.into());
            self.modify(QueuePairChange { fields, state, p_key_index: 0, q_key }).unwrap();
        } else {
            self.to(QueuePairState::INIT).unwrap();
        }
        self.to(QueuePairState::READY_TO_RECEIVE).unwrap();
        self.to(QueuePairState::READY_TO_SEND).unwrap();
        self
    }

    pub fn send(&mut self, entry: &SendEntry) {
        self.pair.send(&self.lhca, entry).unwrap();
    }

    /// Posts a receive request; `room` must live until it completes.
    pub fn receive(&mut self, id: u64, room: &mut [u8]) {
        let mut entry = ReceiveEntry { id, segments: 1, ..ReceiveEntry::default() };
        entry.segment[0] = segment(room);
        self.pair.receive(&self.lhca, &entry).unwrap();
    }

    pub fn next(&mut self) -> Option<Completion> {
        self.completions.next(&self.lhca)
    }
}

pub fn segment(buffer: &mut [u8]) -> Segment {
    let address = buffer.as_mut_ptr().expose_provenance() as u64;
    Segment { address, length: u32::try_from(buffer.len()).unwrap(), l_key: Segment::PHYSICAL }
}
