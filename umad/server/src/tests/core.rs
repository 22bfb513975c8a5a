use std::time::Duration;

use iba::mad::AttributeId;
use iba::packet::{MadPacket, SmpPacket};
use iba::rmpp::{RmppMad, RmppType};
use iba::smp::Smp;
use iba::{QKey, Qpn, Sl, Vl};
use umad_protocol::{ConnectData, Control, ControlKind, Datagram, NODE_ID_LEN, VendorData};
use zerocopy::byteorder::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::super::core::{Change, Core, Refusal};
use super::super::slot::Slot;
use super::*;

/// A server with its fabric; a client's address is a number.
struct Bench {
    core: Core<u32>,
    fabric: Hosts,
    now: Duration,
    /// Number of clients that attached so far.
    attached: u32,
}

impl Bench {
    fn new() -> Self {
        Self { core: Core::new(), fabric: Hosts::default(), now: Duration::from_nanos(5), attached: 0 }
    }

    fn control<T: IntoBytes + Immutable>(
        &mut self,
        client: u32,
        kind: ControlKind,
        data: &T,
    ) -> Result<(Control, Change), Refusal> {
        let mut message = Control::new(client, kind, data);
        match self.core.control(&mut message, client, &mut self.fabric) {
            Ok(change) => Ok((message, change)),
            Err(refusal) => {
                assert_eq!(message.kind, ControlKind::ERROR);
                Err(refusal)
            }
        }
    }

    /// Attaches a client whose address equals its slot while no client detached.
    fn attach(&mut self, name: &str) -> Result<Slot, Refusal> {
        let address = self.attached;
        let mut data = ConnectData { id: U32::new(4711), qp: U32::ZERO, is_sm: U32::ZERO, node_id: [0; NODE_ID_LEN] };
        data.set_node_id(name);
        let mut message = Control::new(0, ControlKind::CONNECT, &data);
        match self.core.control(&mut message, address, &mut self.fabric)? {
            Change::Attached(slot, 4711) => {
                self.attached += 1;
                assert_eq!(ConnectData::read_from_prefix(&message.data).unwrap().0.id.get(), slot.number());
                Ok(slot)
            }
            other => panic!("{other:?}"),
        }
    }

    fn query<T: FromBytes>(&mut self, client: u32, kind: ControlKind) -> T {
        let (message, change) = self.control(client, kind, &[0_u8; 64]).unwrap();
        assert_eq!(change, Change::Nothing);
        T::read_from_prefix(&message.data).unwrap().0
    }

    fn set_is_sm(&mut self, client: u32, is_sm: u32) -> Result<(Control, Change), Refusal> {
        self.control(client, ControlKind::SET_ISSM, &is_sm.to_ne_bytes())
    }

    /// Sends a MAD to LID 2 as the client in `slot`; returns the packet that the server makes.
    fn submit(&mut self, slot: Slot, mad: [u8; 256]) -> Option<Vec<u8>> {
        let back = self.core.submit(self.now, slot, &Datagram::new(0, 2, 1, 1, mad), &mut self.fabric);
        assert_eq!(back, None);
        self.fabric.submitted.pop().map(|(_, packet)| packet)
    }

    /// Delivers a packet with `mad` from LID 2; returns the client at the host that received it.
    fn deliver(&mut self, at: usize, mad: [u8; 256]) -> Option<Slot> {
        let packet = MadPacket::new(Lid::new(2), Lid::new(1), Sl::default(), transmute!(mad));
        self.core.deliver(host(at), packet.as_bytes()).map(|(slot, datagram)| {
            assert_eq!((datagram.slid.get(), datagram.dlid.get(), datagram.mad), (2, 1, mad));
            slot
        })
    }

    fn expired(&mut self) -> Vec<(Slot, Datagram)> {
        std::iter::from_fn(|| self.core.expire(self.now)).collect()
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }
}

/// Returns the response to the MAD in `packet`.
fn response(packet: &[u8]) -> [u8; 256] {
    let mut mad: Mad = MadPacket::read_from_bytes(packet).unwrap().mad;
    mad.header.method = Method::new(mad.header.method.get() | 0x80);
    transmute!(mad)
}

const SA: Class = Class::SUBN_ADM;
const GET: [u8; 256] = {
    let mut mad = [0; 256];
    (mad[0], mad[1], mad[3]) = (1, 3, 1);
    mad
};

#[test]
fn client_attaches_at_the_named_node() {
    let mut bench = Bench::new();
    assert_eq!(bench.attach("H2").unwrap().number(), 0);
    assert_eq!(bench.attach("").unwrap().number(), 1);
    assert_eq!(bench.attach("H3"), Err(Refusal::NoNode));
    assert_eq!(bench.query::<PortInfo>(0, ControlKind::GET_PORTINFO).lid.get(), 2);
    assert_eq!(bench.query::<PortInfo>(1, ControlKind::GET_PORTINFO).lid.get(), 1);
}

#[test]
fn queries_about_the_port_are_answered() {
    let mut bench = Bench::new();
    bench.attach("H2").unwrap();
    assert_eq!(bench.query::<[u8; 3]>(0, ControlKind::GET_PORT), [2, 0, 4], "LID in native order, state");
    assert_eq!(bench.query::<VendorData>(0, ControlKind::GET_VENDOR).device.get(), 0x1234);
    assert_eq!(bench.query::<iba::Gid>(0, ControlKind::GET_GID).guid, bench.fabric.node_info(host(2)).port_guid);
    assert_eq!(bench.query::<Guid>(0, ControlKind::GET_GUID).get(), 0x0200_0000_0000_0011);
    assert_eq!(bench.query::<NodeInfo>(0, ControlKind::GET_NODEINFO), bench.fabric.node_info(host(2)));
    assert_eq!(bench.query::<[u8; 4]>(0, ControlKind::GET_PKEYS), [0xff, 0xff, 0, 0]);
    let port = |number: u8| Control::new(0, ControlKind::GET_PORTINFO, &number).data;
    let (second, _) = bench.control(0, ControlKind::GET_PORTINFO, &port(2)).unwrap();
    assert_eq!(PortInfo::read_from_prefix(&second.data).unwrap().0.lid.get(), 12);
    let (second, _) = bench.control(0, ControlKind::GET_PKEYS, &port(2)).unwrap();
    assert_eq!(second.data[..2], [0x80, 2]);
    assert_eq!(bench.control(0, ControlKind::GET_PORTINFO, &port(3)).err(), Some(Refusal::NoPort));
}

#[test]
fn client_moves_to_another_port_of_its_node() {
    let mut bench = Bench::new();
    for name in ["H2", "H2", "H1", "S1"] {
        bench.attach(name).unwrap();
    }
    let set_port = |bench: &mut Bench, client, port: u8| bench.control(client, ControlKind::SET_PORT, &port).err();
    bench.set_is_sm(0, 1).unwrap();
    assert_eq!(set_port(&mut bench, 0, 2), None);
    assert_eq!(bench.fabric.sms, BTreeSet::from([(1, 2)]), "a manager takes that along");
    assert_eq!(bench.query::<PortInfo>(0, ControlKind::GET_PORTINFO).lid.get(), 12);
    let gmp = Datagram::new(0, 1, 1, 1, GET);
    assert_eq!(bench.core.submit(bench.now, Slot::new(0).unwrap(), &gmp, &mut bench.fabric), None);
    assert_eq!(bench.fabric.submitted[0].0, NodePort { port: PortNum::new(2), ..host(2) });
    bench.set_is_sm(1, 1).unwrap();
    assert_eq!(set_port(&mut bench, 1, 2), Some(Refusal::HasSm));
    assert_eq!(bench.fabric.sms, BTreeSet::from([(1, 1), (1, 2)]), "and it stays where it is");
    for (client, port) in [(0, 0), (0, 3), (2, 2), (3, 1)] {
        assert_eq!(set_port(&mut bench, client, port), Some(Refusal::NoPort), "{client} to {port}");
    }
}

#[test]
fn invalid_control_messages_are_refused() {
    let mut bench = Bench::new();
    bench.attach("H1").unwrap();
    let unknown = ControlKind::read_from_bytes(&99_u32.to_ne_bytes()).unwrap();
    assert_eq!(bench.control(0, unknown, &()).err(), Some(Refusal::Unknown));
    assert_eq!(bench.control(1, ControlKind::GET_PORT, &()).err(), Some(Refusal::NotAttached));
    assert_eq!(bench.control(u32::MAX, ControlKind::GET_PORT, &()).err(), Some(Refusal::NotAttached));
    let mut message = Control::new(0, ControlKind::GET_PORT, &());
    assert_eq!(bench.core.control(&mut message, 7, &mut bench.fabric), Err(Refusal::NotAttached), "not its slot");
    message.magic = U32::new(1);
    assert_eq!(bench.core.control(&mut message, 0, &mut bench.fabric), Err(Refusal::Unknown), "magic");
}

#[test]
fn slots_are_allocated_and_freed() {
    let mut bench = Bench::new();
    for _ in 0..Slot::COUNT {
        bench.attach("H1").unwrap();
    }
    assert_eq!(bench.attach("H1"), Err(Refusal::Full));
    let (_, change) = bench.control(5, ControlKind::DISCONNECT, &()).unwrap();
    assert_eq!(change, Change::Detached(Slot::new(5).unwrap()));
    let mut data = ConnectData { id: U32::new(1), qp: U32::ZERO, is_sm: U32::ZERO, node_id: [0; NODE_ID_LEN] };
    data.set_node_id("H1");
    let mut message = Control::new(0, ControlKind::CONNECT, &data);
    let change = bench.core.control(&mut message, 5, &mut bench.fabric);
    assert_eq!(change, Ok(Change::Attached(Slot::new(5).unwrap(), 1)));
}

#[test]
fn port_with_an_sm_refuses_another() {
    let mut bench = Bench::new();
    let first = bench.attach("H1").unwrap();
    bench.attach("H1").unwrap();
    bench.attach("H2").unwrap();
    bench.set_is_sm(0, 1).unwrap();
    bench.set_is_sm(0, 1).unwrap();
    assert_eq!(bench.set_is_sm(1, 1).err(), Some(Refusal::HasSm));
    bench.set_is_sm(2, 1).unwrap();
    assert_eq!(bench.fabric.sms, BTreeSet::from([(0, 1), (1, 1)]));
    bench.core.detach(first, &mut bench.fabric);
    assert_eq!(bench.fabric.sms, BTreeSet::from([(1, 1)]));
    bench.set_is_sm(1, 1).unwrap();
    bench.set_is_sm(1, 0).unwrap();
    assert_eq!(bench.fabric.sms, BTreeSet::from([(1, 1)]));
}

#[test]
fn gmp_becomes_a_packet_from_the_port() {
    let mut bench = Bench::new();
    let slot = bench.attach("H1").unwrap();
    let packet = bench.submit(slot, GET).unwrap();
    let MadPacket { header, mad } = MadPacket::read_from_bytes(&packet).unwrap();
    assert_eq!((header.lrh.slid, header.lrh.dlid), (Lid::new(1), Lid::new(2)));
    assert_eq!((header.bth.dest_qp, header.deth.src_qp), (Qpn::GSI, Qpn::GSI));
    assert_eq!((header.deth.q_key, header.bth.p_key, header.lrh.vl()), (QKey::GSI, PKey::DEFAULT, Vl::new(0)));
    assert_eq!(mad.as_bytes()[16..], GET[16..]);
}

#[test]
fn directed_route_smp_becomes_a_packet_on_vl15() {
    let mut bench = Bench::new();
    let slot = bench.attach("H1").unwrap();
    let mad = mad(Class::SUBN_DIRECTED_ROUTE, Method::GET, 9);
    bench.core.submit(bench.now, slot, &Datagram::new(0xffff, 0xffff, 0, 0, mad), &mut bench.fabric);
    let (at, mut packet) = bench.fabric.submitted.pop().unwrap();
    assert_eq!(at, host(1));
    let packet = SmpPacket::parse_mut(&mut packet).expect("an SMP packet");
    assert_eq!((packet.header.lrh.slid, packet.header.lrh.dlid), (Lid::PERMISSIVE, Lid::PERMISSIVE));
}

#[test]
fn response_is_for_the_client_of_its_request() {
    let mut bench = Bench::new();
    let (first, second) = (bench.attach("H1").unwrap(), bench.attach("H1").unwrap());
    let transaction = 0x0001_dead_beef_u64;
    let get = mad(SA, Method::GET, transaction);
    let packets = [bench.submit(first, get).unwrap(), bench.submit(second, get).unwrap()];
    let responses = packets.map(|packet| response(&packet));
    let sent: Mad = transmute!(responses[0]);
    assert_eq!(sent.header.transaction_id.get() & 0xffff_ffff_ffff, transaction, "the client's bits are as they were");
    assert_eq!(bench.deliver(1, responses[1]), Some(second));
    assert_eq!(bench.deliver(1, responses[0]), Some(first));
    assert_eq!(bench.deliver(2, responses[0]), None, "at another port");
    bench.core.detach(first, &mut bench.fabric);
    assert_eq!(bench.attach("H1"), Ok(first));
    assert_eq!(bench.deliver(1, responses[0]), None, "not for a later client in the slot");
}

#[test]
fn response_of_a_client_leaves_unchanged() {
    let mut bench = Bench::new();
    let slot = bench.attach("H1").unwrap();
    for method in [Method::GET_RESP, Method::TRAP_REPRESS] {
        let packet = bench.submit(slot, mad(SA, method, 0xabcd_0000_0000_0001)).unwrap();
        let packet = MadPacket::read_from_bytes(&packet).unwrap();
        assert_eq!(packet.mad.header.transaction_id.get(), 0xabcd_0000_0000_0001);
    }
    bench.wait(2000);
    assert!(bench.expired().is_empty());
}

#[test]
fn request_for_a_client_is_delivered_by_its_class() {
    let mut bench = Bench::new();
    let (vendor, trap) = (Class::new(0x32), Method::TRAP);
    let sm_classes = [Class::SUBN_LID_ROUTED, Class::SUBN_DIRECTED_ROUTE, SA];
    let tool = bench.attach("H1").unwrap();
    for class in sm_classes {
        assert_eq!(bench.deliver(1, mad(class, trap, 1)), None, "no subnet manager");
    }
    assert_eq!(bench.deliver(1, mad(vendor, Method::GET, 1)), Some(tool));
    let sm = bench.attach("H1").unwrap();
    bench.set_is_sm(1, 1).unwrap();
    for class in sm_classes {
        assert_eq!(bench.deliver(1, mad(class, trap, 1)), Some(sm));
    }
    bench.core.detach(tool, &mut bench.fabric);
    assert_eq!(bench.deliver(1, mad(vendor, Method::GET, 1)), None, "a subnet manager does not survive it");
}

#[test]
fn report_is_for_the_subscriber() {
    let mut bench = Bench::new();
    let report = mad(SA, Method::REPORT, 1);
    bench.attach("H1").unwrap();
    let (subscriber, elsewhere) = (bench.attach("H1").unwrap(), bench.attach("H2").unwrap());
    bench.set_is_sm(1, 1).unwrap();
    assert_eq!(bench.deliver(1, report), None, "no client subscribed yet");
    let mut inform: Mad = transmute!(mad(SA, Method::SET, 1));
    inform.header.attribute_id = AttributeId::INFORM_INFO;
    for slot in [subscriber, elsewhere] {
        bench.submit(slot, transmute!(inform)).unwrap();
    }
    assert_eq!(bench.deliver(1, report), Some(subscriber));
    bench.core.detach(subscriber, &mut bench.fabric);
    assert_eq!(bench.deliver(1, report), None);
}

#[test]
fn packet_without_a_mad_is_for_no_client() {
    let mut bench = Bench::new();
    bench.attach("H1").unwrap();
    let vendor = mad(Class::new(0x32), Method::GET, 1);
    let mut packet = MadPacket::new(Lid::new(2), Lid::new(1), Sl::default(), transmute!(vendor));
    assert!(bench.core.deliver(host(1), packet.as_bytes()).is_some());
    assert_eq!(bench.core.deliver(host(1), &packet.as_bytes()[..283]), None);
    assert_eq!(bench.core.deliver(host(1), &[]), None);
    packet.header.bth.dest_qp = Qpn::new(2);
    assert_eq!(bench.core.deliver(host(1), packet.as_bytes()), None);
}

#[test]
fn request_without_a_response_comes_back() {
    let mut bench = Bench::new();
    let slot = bench.attach("H1").unwrap();
    let request = Datagram::new(0, 2, 1, 1, GET);
    bench.submit(slot, GET);
    assert_eq!(bench.core.deadline(), Some(bench.now + Duration::from_secs(1)));
    bench.wait(999);
    assert!(bench.expired().is_empty());
    bench.wait(1);
    let mut back = request;
    back.status = U32::new(110);
    assert_eq!(bench.expired(), [(slot, back)]);
    assert!(bench.expired().is_empty() && bench.core.deadline().is_none());
}

#[test]
fn request_with_a_response_does_not_come_back() {
    let mut bench = Bench::new();
    let slot = bench.attach("H1").unwrap();
    let packet = bench.submit(slot, GET).unwrap();
    bench.deliver(1, response(&packet));
    bench.wait(2000);
    assert!(bench.expired().is_empty());
}

#[test]
fn request_sent_again_has_its_full_time() {
    let mut bench = Bench::new();
    let slot = bench.attach("H1").unwrap();
    bench.submit(slot, GET);
    bench.wait(600);
    bench.submit(slot, GET);
    bench.wait(600);
    assert!(bench.expired().is_empty());
    bench.wait(400);
    assert_eq!(bench.expired().len(), 1, "and comes back once");
}

#[test]
fn detached_client_gets_no_requests_back() {
    let mut bench = Bench::new();
    let slot = bench.attach("H1").unwrap();
    bench.submit(slot, GET);
    bench.core.detach(slot, &mut bench.fabric);
    bench.wait(2000);
    assert!(bench.expired().is_empty());
}

#[test]
fn mad_that_expects_no_response_does_not_come_back() {
    let mut bench = Bench::new();
    let slot = bench.attach("H1").unwrap();
    let mut ack: RmppMad = transmute!(mad(SA, Method::new(0x12), 1));
    ack.rmpp.set_active(true);
    ack.rmpp.kind = RmppType::ACK;
    for mad in [mad(SA, Method::SEND, 1), mad(SA, Method::TRAP, 1), transmute!(ack)] {
        bench.submit(slot, mad);
    }
    bench.wait(2000);
    assert!(bench.expired().is_empty());
}

#[test]
fn request_to_another_queue_pair_comes_back_at_once() {
    let mut bench = Bench::new();
    let slot = bench.attach("H1").unwrap();
    let back = bench.core.submit(bench.now, slot, &Datagram::new(0, 2, 1, 2, GET), &mut bench.fabric);
    assert!(back.is_some_and(|back| back.is_timed_out()));
    assert!(bench.fabric.submitted.is_empty());
}

#[test]
fn smp_is_for_the_sm() {
    let mut bench = Bench::new();
    let sm = bench.attach("H1").unwrap();
    bench.set_is_sm(0, 1).unwrap();
    let mut smp = Smp::read_from_bytes(&mad(Class::SUBN_LID_ROUTED, Method::TRAP, 7)).unwrap();
    smp.header.attribute_id = AttributeId::NOTICE;
    let packet = SmpPacket::new(Lid::new(2), Lid::new(1), Sl::default(), smp);
    let (slot, datagram) = bench.core.deliver(host(1), packet.as_bytes()).unwrap();
    assert_eq!(slot, sm);
    assert_eq!((datagram.slid.get(), datagram.dlid.get(), datagram.sqp.get(), datagram.dqp.get()), (2, 1, 0, 0));
    assert_eq!(datagram.status.get(), 0);
    assert_eq!(datagram.mad, smp.as_bytes()[..256]);
}
