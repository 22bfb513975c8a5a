//! The loop on a fake HCA, with a subnet manager that does one thing at a time.
#![allow(unsafe_code)] // the driver takes its BAR by pointer

use alloc::sync::Arc;
use hca_contract::{LinkState, Ring, device, port, port_offset, slot, slot_offset};
use hca_driver::{Bar2, Doorbell, Hca};
use hca_fake::FakeHca;
use iba::attr::{NodeDescription, NodeInfo, PortInfo, PortPhysicalState, PortState, SwitchInfo};
use iba::mad::{AttributeId, Class, Mad, MadHeader, Method, Status};
use iba::packet::{MadPacket, SmpPacket};
use iba::smp::Smp;
use iba::{Guid, Lid, PortNum, Sl, TransactionId};
use partition_table::{Lhca, Name, Table, Uplinks, encode, stable_guid};
use proptest::prelude::*;

use spin::Mutex;
use subnet::Time;
use zerocopy::{FromBytes, IntoBytes};

use super::{BATCH, Drops, Fabric, Next};
use crate::manager::tests::{NoMemory, Stage};
use crate::manager::{PartitionManager, write_answer};

const SECOND: u64 = 1_000_000_000;

pub(crate) struct Rig<D> {
    pub(crate) fabric: Arc<Mutex<Fabric<D, NoMemory>>>,
    pub(crate) manager: PartitionManager<D, Stage>,
    fake: FakeHca,
    pub(crate) now: Time,
    transactions: u64,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The row of an LHCA without a partition, the `nth` of its hypervisor.
pub(crate) fn row(nth: u16) -> Lhca {
    Lhca::new(name(&format!("lhca-{nth}")), stable_guid("portico-0", 1 + nth), Uplinks::FIRST)
}

/// A hypervisor with `lhcas` LHCAs at uplink 1, and a peer on its cable.
fn rig(lhcas: u16) -> Rig<impl Doorbell> {
    rig_of(&(1..=lhcas).map(row).collect::<Vec<_>>(), 0, Stage::default())
}

/// A hypervisor with the LHCAs of `rows`, and a peer on its cable.
pub(crate) fn rig_of(rows: &[Lhca], spare_ports: u8, stage: Stage) -> Rig<impl Doorbell + use<>> {
    let switches = [stable_guid("portico-0", 0), Guid::default()];
    let table = encode(name("portico-0"), switches, spare_ports, rows).unwrap();
    let table = Table::parse(&table).unwrap();
    let mut fake = FakeHca::new(1);
    fake.start();
    fake.plug(0, true);
    // SAFETY: the memory is aligned, of BAR2's size, made of atomics, and outlives the driver: `Rig` drops in order.
    let bar = unsafe { Bar2::new(fake.bar()) };
    let hca = Hca::new(bar, fake.doorbell());
    let now = Time(SECOND);
    let fabric = Arc::new(Mutex::new(Fabric::new(&table, hca, now).unwrap()));
    let manager = PartitionManager::new(now, &table, stage, fabric.clone());
    let mut rig = Rig { fabric, manager, fake, now, transactions: 0 };
    while rig.manager.is_busy() {
        rig.poll();
    }
    rig.settle();
    assert!(rig.fake.taken_up());
    rig
}

/// The header of a request.
fn header(class: Class, method: Method, attribute: AttributeId, transaction: u64) -> MadHeader {
    let mut header = MadHeader::default();
    (header.base_version, header.class_version) = (MadHeader::BASE_VERSION, 1);
    (header.class, header.method, header.attribute_id) = (class, method, attribute);
    header.transaction_id = TransactionId::new(transaction);
    header
}

impl<D: Doorbell> Rig<D> {
    /// Lets loop and device run until neither has anything to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            let next = self.fabric.lock().turn(self.now);
            self.fake.serve();
            let bells = self.fake.notifications().len();
            let interrupts = self.fake.interrupts().len();
            if matches!(next, Next::At(_)) && bells + interrupts == 0 {
                return;
            }
        }
        panic!("the loop never comes to rest");
    }

    /// A request along the directed route whose ports, after the manager's own, are `route`.
    pub(crate) fn smp(&mut self, method: Method, attribute: AttributeId, modifier: u32, route: &[u8]) -> Smp {
        self.transactions += 1;
        let mut smp = Smp::default();
        smp.header = header(Class::SUBN_DIRECTED_ROUTE, method, attribute, self.transactions);
        smp.header.attribute_modifier = modifier.into();
        (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
        // The manager's own adapter was hop 0; it has sent the packet on.
        smp.set_hop_pointer(1);
        smp.set_hop_count(u8::try_from(route.len() + 1).unwrap());
        smp.initial_path[1] = PortNum::new(1);
        for (hop, &port) in smp.initial_path[2..].iter_mut().zip(route) {
            *hop = PortNum::new(port);
        }
        smp
    }

    /// Delivers an SMP, and returns all SMPs sent in response.
    pub(crate) fn exchange(&mut self, smp: Smp) -> Vec<Smp> {
        let packet = SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::new(0), smp);
        assert!(self.fake.deliver(0, Ring::Qp0Receive, packet.as_bytes()));
        self.settle();
        core::iter::from_fn(|| self.fake.take(0, Ring::Qp0Send))
            .map(|packet| SmpPacket::read_from_bytes(&packet).expect("an SMP packet").smp)
            .collect()
    }

    pub(crate) fn get(&mut self, attribute: AttributeId, modifier: u32, route: &[u8]) -> Smp {
        let smp = self.smp(Method::GET, attribute, modifier, route);
        let answers = self.exchange(smp);
        let [answer] = answers[..] else { panic!("{} answers", answers.len()) };
        assert_eq!((answer.header.method, answer.status()), (Method::GET_RESP, Status::new(0)));
        answer
    }

    /// Sets PortInfo of a port, with `change` applied.
    pub(crate) fn set_port(&mut self, port: u32, route: &[u8], change: impl FnOnce(&mut PortInfo)) {
        let mut info = *self.get(AttributeId::PORT_INFO, port, route).attribute::<PortInfo>();
        info.set_port_state(PortState::NO_CHANGE);
        info.set_physical_state(PortPhysicalState::NO_CHANGE);
        info.master_sm_lid = Lid::new(1);
        change(&mut info);
        let mut smp = self.smp(Method::SET, AttributeId::PORT_INFO, port, route);
        smp.set_attribute(&info);
        let answers = self.exchange(smp);
        let done = |answer: &Smp| answer.header.method == Method::GET_RESP && answer.status() == Status::OK;
        assert!(answers.iter().any(done), "{answers:?}");
    }

    pub(crate) fn state(&mut self, port: u32, route: &[u8]) -> PortState {
        self.get(AttributeId::PORT_INFO, port, route).attribute::<PortInfo>().port_state()
    }

    /// Returns the immediate answer of the control line.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let mut answer = String::new();
        self.manager.handle_request(self.now, line, &mut answer).unwrap();
        answer
    }

    /// Returns the whole answer, after all work that waits for no event.
    pub(crate) fn say(&mut self, line: &str) -> String {
        let mut answer = self.ask(line);
        while self.manager.is_busy() {
            answer += &self.poll();
        }
        self.settle();
        answer
    }

    /// Lets partitions begin and end, by one step; what the control line says of that.
    pub(crate) fn poll(&mut self) -> String {
        let mut answer = String::new();
        if let Some(outcome) = self.manager.poll(self.now) {
            write_answer(&outcome, &mut answer).unwrap();
        }
        answer
    }

    /// Gives the switch LID 3 and a route to the manager's LID 1, and makes its uplink active.
    fn address(&mut self) {
        self.set_port(0, &[], |info| info.lid = Lid::new(3));
        let mut routes = self.smp(Method::SET, AttributeId::LINEAR_FORWARDING_TABLE, 0, &[]);
        routes.data.fill(0xff);
        (routes.data[1], routes.data[3]) = (1, 0);
        assert_eq!(self.exchange(routes).len(), 1);
        let mut top = *self.get(AttributeId::SWITCH_INFO, 0, &[]).attribute::<SwitchInfo>();
        top.linear_fdb_top = 3.into();
        let mut set = self.smp(Method::SET, AttributeId::SWITCH_INFO, 0, &[]);
        set.set_attribute(&top);
        assert_eq!(self.exchange(set).len(), 1);
        for state in [PortState::ARMED, PortState::ACTIVE] {
            self.set_port(1, &[], |info| info.set_port_state(state));
        }
    }
}

#[test]
fn sweep_finds_the_switch_and_every_lhca() {
    let mut rig = rig(5);
    let switch = *rig.get(AttributeId::NODE_INFO, 0, &[]).attribute::<NodeInfo>();
    assert_eq!((switch.num_ports, switch.node_guid), (6, stable_guid("portico-0", 0)));
    let text = |smp: Smp| smp.attribute::<NodeDescription>().to_string();
    assert_eq!(text(rig.get(AttributeId::NODE_DESCRIPTION, 0, &[])), "portico-0");
    for i in 0..5 {
        let route = [2 + i];
        let lhca = *rig.get(AttributeId::NODE_INFO, 0, &route).attribute::<NodeInfo>();
        assert_eq!(lhca.node_guid, stable_guid("portico-0", 2 + u16::from(i)));
        assert_eq!(lhca.port_guid.get(), lhca.node_guid.get() + 1);
        assert_eq!(text(rig.get(AttributeId::NODE_DESCRIPTION, 0, &route)), format!("lhca-{}", i + 1));
        assert_eq!(rig.state(1, &route), PortState::INIT);
    }
    assert_eq!(rig.state(1, &[]), PortState::INIT, "the uplink");
    assert_eq!(rig.fabric.lock().drops(), Drops::default());
}

#[test]
fn lost_device_keeps_the_state_of_logical_ports() {
    let mut rig = rig(2);
    rig.address();
    rig.set_port(1, &[2], |info| info.lid = Lid::new(7));
    assert_eq!(rig.state(1, &[]), PortState::ACTIVE);
    // The heart stands still. The device answers a driver that gives it up by a new life.
    rig.now = Time(rig.now.0 + 4 * SECOND);
    rig.fabric.lock().turn(rig.now);
    assert!(rig.say("status").contains("hca absent"));
    assert!(rig.say("status").starts_with("hca generation 2 ports 1\n"));
    assert_eq!(rig.state(1, &[]), PortState::INIT, "the uplink was down meanwhile");
    assert_eq!(rig.get(AttributeId::PORT_INFO, 1, &[2]).attribute::<PortInfo>().lid, Lid::new(7));
    assert_eq!(rig.get(AttributeId::PORT_INFO, 0, &[]).attribute::<PortInfo>().lid, Lid::new(3));
}

#[test]
fn port_request_plugs_and_unplugs() {
    let mut rig = rig(2);
    let guid = stable_guid("portico-0", 2).get() + 1;
    let first = format!(
        "partition none qp0 none name lhca-1\nport 1 at 1/2 guid {guid:#018x} lid 0 state Init cable in\n\
         because no subnet manager has given it a LID\npartition none"
    );
    let list = rig.say("list");
    assert!(list.starts_with(&first), "{list}");
    assert_eq!(list.lines().count(), 7);
    assert_eq!(rig.say("port 2 down"), "ok\n");
    assert_eq!(rig.state(2, &[]), PortState::DOWN);
    let switch = rig.get(AttributeId::SWITCH_INFO, 0, &[]);
    assert!(switch.attribute::<SwitchInfo>().port_state_change());
    assert_eq!(rig.say("port 1/2 up"), "ok\n");
    assert_eq!(rig.state(2, &[]), PortState::INIT);
    assert_eq!(rig.say("port 1 down"), "ok\n");
    assert_eq!(rig.fake.peek(port_offset(0) + port::LINK) & 0xff, LinkState::Disabled as u32);
    assert!(rig.say("status").contains("uplink 1 link down"));
    assert_eq!(rig.say("port 1 up"), "ok\n");
    assert!(rig.say("status").contains("uplink 1 link up"));
    for wrong in ["", "port", "port 2", "port x up", "port 4 up", "port 0 up", "port 2/2 up", "port 1/ up", "list all"]
    {
        assert!(rig.say(wrong).starts_with("error: "), "{wrong:?}");
    }
}

#[test]
fn inactive_port_has_its_reason() {
    let mut rig = rig(2);
    let why = |rig: &mut Rig<_>, nth| {
        let said = rig.say(&format!("status lhca-{nth}"));
        said.lines().find_map(|line| line.strip_prefix("because ").map(str::to_owned)).unwrap_or_default()
    };
    assert_eq!(why(&mut rig, 1), "no subnet manager has given it a LID");
    rig.say("port 1 down");
    assert_eq!(why(&mut rig, 1), "the uplink is down, and no subnet manager here has given it a LID");
    rig.say("port 1 up");
    rig.set_port(1, &[2], |info| info.lid = Lid::new(9));
    for (state, reason) in [
        (None, "no subnet manager has armed it"),
        (Some(PortState::ARMED), "no subnet manager has activated it"),
        (Some(PortState::ACTIVE), ""),
    ] {
        if let Some(state) = state {
            rig.set_port(2, &[], |info| info.set_port_state(state));
            rig.set_port(1, &[2], |info| info.set_port_state(state));
        }
        assert_eq!(why(&mut rig, 1), reason);
    }
    // The answer of a port that is disabled does not come back.
    let mut info = *rig.get(AttributeId::PORT_INFO, 1, &[2]).attribute::<PortInfo>();
    info.set_port_state(PortState::DOWN);
    info.set_physical_state(PortPhysicalState::DISABLED);
    let mut disable = rig.smp(Method::SET, AttributeId::PORT_INFO, 1, &[2]);
    disable.set_attribute(&info);
    rig.exchange(disable);
    assert_eq!(why(&mut rig, 1), "a subnet manager has disabled it");
    rig.set_port(3, &[], |info| {
        info.set_port_state(PortState::DOWN);
        info.set_physical_state(PortPhysicalState::DISABLED);
    });
    assert_eq!(why(&mut rig, 2), "a subnet manager has disabled the port that it is at");
    rig.say("port 3 down");
    assert_eq!(why(&mut rig, 2), "its cable is out");
}

#[test]
fn retrain_request_is_answered_before_the_link_goes_down() {
    let mut rig = rig(1);
    let downs = |rig: &Rig<_>| rig.fake.peek(port_offset(0) + port::LINK + 4);
    let before = downs(&rig);
    let mut down = rig.smp(Method::SET, AttributeId::PORT_INFO, 1, &[]);
    let mut info = *rig.get(AttributeId::PORT_INFO, 1, &[]).attribute::<PortInfo>();
    info.set_port_state(PortState::DOWN);
    info.set_physical_state(PortPhysicalState::NO_CHANGE);
    down.set_attribute(&info);
    let packet = SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::new(0), down);
    assert!(rig.fake.deliver(0, Ring::Qp0Receive, packet.as_bytes()));
    assert_eq!(rig.fabric.lock().turn(rig.now), Next::AtOnce, "the driver has not handled the link request");
    assert!(rig.fake.take(0, Ring::Qp0Send).is_some(), "the answer is in the ring by then");
    rig.settle();
    assert!(downs(&rig) > before, "the link was down for a moment");
    assert_eq!(rig.state(1, &[]), PortState::INIT);
}

/// Sends a request in that is answered on the same queue.
fn ask<D: Doorbell>(rig: &mut Rig<D>, ring: Ring, transaction: u64) {
    let delivered = if ring == Ring::Qp0Receive {
        let mut smp = rig.smp(Method::GET, AttributeId::NODE_INFO, 0, &[]);
        smp.header.transaction_id = TransactionId::new(transaction);
        let packet = SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::new(0), smp);
        rig.fake.deliver(0, ring, packet.as_bytes())
    } else {
        let header = header(Class::PERF, Method::GET, AttributeId::CLASS_PORT_INFO, transaction);
        let packet = MadPacket::new(Lid::new(1), Lid::new(3), Sl::new(0), Mad { header, data: [0; 232] });
        rig.fake.deliver(0, ring, packet.as_bytes())
    };
    assert!(delivered);
}

#[test]
fn requests_wait_for_free_send_slots() {
    for (receive, send) in [(Ring::Qp0Receive, Ring::Qp0Send), (Ring::PacketReceive, Ring::PacketSend)] {
        let mut rig = rig(1);
        rig.address();
        // The device takes no answers: the send ring fills, and then the requests stay where they are.
        for transactions in [0..256, 256..500] {
            transactions.for_each(|transaction| ask(&mut rig, receive, transaction));
            rig.settle();
        }
        let status = rig.say("status");
        let name = if receive == Ring::Qp0Receive { "qp0" } else { "packet" };
        assert!(status.contains(&format!(" {name}-send 0 {name}-receive {}", 256 - (500 - 256))), "{status}");
        for transaction in 0..500 {
            if transaction == 256 {
                rig.settle();
            }
            let answer = rig.fake.take(0, send).expect("an answer for each request");
            let header = MadPacket::read_from_bytes(&answer).unwrap().mad.header;
            assert_eq!((header.method, header.transaction_id), (Method::GET_RESP, TransactionId::new(transaction)));
        }
        assert_eq!(rig.fabric.lock().drops(), Drops::default());
        let free = "\ncredits uplink 1 qp0-send 256 qp0-receive 256 packet-send 256 packet-receive 256\n";
        assert!(rig.say("status").contains(free));
    }
}

#[test]
fn device_errors_are_added_to_the_switch_counters() {
    let mut rig = rig(1);
    rig.fake.poke64(port_offset(0) + port::COUNTERS + 8 * hca_contract::Counter::RcvErrors as usize, 7);
    rig.settle();
    let count = |rig: &Rig<_>| {
        rig.fabric
            .lock()
            .logical
            .hsma()
            .switch(subnet::UplinkId(0))
            .unwrap()
            .counters(subnet::UPLINK)
            .unwrap()
            .error(subnet::PortError::Rcv)
    };
    assert_eq!(count(&rig), 7);
    rig.fake.start();
    rig.fake.poke64(port_offset(0) + port::COUNTERS + 8 * hca_contract::Counter::RcvErrors as usize, 2);
    rig.settle();
    assert_eq!(count(&rig), 9, "a device of a new generation counts from 0");
}

#[test]
fn flood_of_invalid_slots_is_counted_in_batches() {
    let mut rig = rig(1);
    for i in 0..256 {
        assert!(rig.fake.deliver(0, Ring::PacketReceive, &[0; 8]));
        rig.fake.poke(slot_offset(0, Ring::PacketReceive, i) + slot::LENGTH, 0);
    }
    assert_eq!(rig.fabric.lock().turn(rig.now), Next::AtOnce, "one turn takes one batch");
    assert_eq!(rig.fabric.lock().drops().slots, BATCH as u64);
    rig.settle();
    assert_eq!(rig.fabric.lock().drops().slots, 256);
}

#[test]
fn idle_turn_returns_the_next_deadline() {
    let rig = rig(1);
    let Next::At(time) = rig.fabric.lock().turn(rig.now) else { panic!("busy without work") };
    assert!(time > rig.now && time <= Time(rig.now.0 + SECOND), "the next heartbeat check is due");
    rig.fake.poke(device::GENERATION, 0);
    rig.fabric.lock().turn(rig.now);
    assert!(matches!(rig.fabric.lock().turn(rig.now), Next::At(_)), "a lost device causes no work");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn arbitrary_packets_and_requests_do_not_panic(
        bytes in proptest::collection::vec(any::<u8>(), 8..484),
        smp in proptest::collection::vec(any::<u8>(), 256),
        line in "(port|list|status|digest|start|stop|restart|remove|add|[a-z]{0,5})( [0-9/]{0,6}| up| down| lhca-[0-9]){0,3}",
    ) {
        let mut rig = rig(3);
        let mut packet = bytes;
        packet.truncate(packet.len() / 4 * 4);
        let [high, low] = u16::try_from(packet.len() / 4 + 1).unwrap().to_be_bytes();
        (packet[4], packet[5]) = (high, low);
        prop_assert!(rig.fake.deliver(0, Ring::Qp0Receive, &packet));
        prop_assert!(rig.fake.deliver(0, Ring::PacketReceive, &packet));
        let smp = Smp::read_from_bytes(&smp).unwrap();
        let packet = SmpPacket::new(Lid::PERMISSIVE, Lid::PERMISSIVE, Sl::new(0), smp);
        prop_assert!(rig.fake.deliver(0, Ring::Qp0Receive, packet.as_bytes()));
        rig.settle();
        rig.say(&line);
    }
}
