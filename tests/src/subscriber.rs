//! Somebody who subscribes to events: no tool of others that runs here does.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Instant;

use iba::attr::PortInfo;
use iba::mad::{AttributeId, Class, MadHeader, Method, Status};
use iba::notice::{ReportedNotice, TrapNumber};
use iba::sa::{InformInfo, SaMad};
use iba::{Lid, ProducerType, TransactionId};
use umad_protocol::{ConnectData, Control, ControlKind, Datagram, name};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, transmute};

use crate::lines::PATIENCE;
use crate::site::Site;

/// A program at a host that is told of all events. It answers each report.
#[derive(Debug)]
pub struct Subscriber {
    control: UnixDatagram,
    data: UnixDatagram,
    slot: u32,
}

impl Subscriber {
    /// Attaches to the site's host, and subscribes.
    pub(crate) fn begin(site: &Site) -> Self {
        let at = |name: Vec<u8>| SocketAddr::from_abstract_name(name).unwrap();
        let (base, id) = (&site.socket, std::process::id());
        let control = UnixDatagram::bind_addr(&at(name::client_control(base, id))).unwrap();
        let data = UnixDatagram::bind_addr(&at(name::client_data(base, id))).unwrap();
        control.connect_addr(&at(name::server_control(base))).unwrap();
        for socket in [&control, &data] {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let mut client = Self { control, data, slot: 0 };
        let mut request = ConnectData::new_zeroed();
        request.id = id.into();
        request.set_node_id(&site.host);
        client.slot = client.ask(ControlKind::CONNECT, &request).id.get();
        client.data.connect_addr(&at(name::server_data(base, client.slot))).unwrap();
        client.subscribe();
        client
    }

    /// Waits for the report of an event of this kind, and gives it.
    ///
    /// # Panics
    /// There is none in time.
    pub fn wait_for(&self, trap: TrapNumber) -> ReportedNotice {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "no report of: {trap}");
            let (from, mut mad) = self.receive();
            if (mad.header.class, mad.header.method) != (Class::SUBN_ADM, Method::REPORT) {
                continue;
            }
            assert_eq!(mad.header.attribute_id, AttributeId::NOTICE);
            let event: ReportedNotice = *mad.record();
            mad.header.method = Method::REPORT_RESP;
            self.send(from, &mad);
            if event.notice.trap_number == trap {
                return event;
            }
        }
    }

    fn subscribe(&self) {
        let port: PortInfo = self.ask(ControlKind::GET_PORTINFO, &PortInfo::default());
        let mut inform = InformInfo::default();
        (inform.lid_first, inform.is_generic, inform.subscribe) = (Lid::PERMISSIVE, 1, 1);
        (inform.notice_type, inform.trap_number) = (0xffff.into(), TrapNumber::new(0xffff));
        inform.producer = ProducerType::new(0xff_ffff);
        inform.set_qpn(1);
        let mut mad = SaMad::new_zeroed();
        (mad.header.base_version, mad.header.class) = (MadHeader::BASE_VERSION, Class::SUBN_ADM);
        (mad.header.class_version, mad.header.method) = (SaMad::CLASS_VERSION, Method::SET);
        (mad.header.attribute_id, mad.header.transaction_id) = (AttributeId::INFORM_INFO, TransactionId::new(1));
        mad.set_record(&inform);
        self.send(port.master_sm_lid, &mad);
        let (_, answer) = self.receive();
        assert_eq!((answer.header.method, answer.header.status), (Method::GET_RESP, Status::OK));
    }

    fn send(&self, to: Lid, mad: &SaMad) {
        self.data.send(Datagram::new(0, to.get(), 1, 1, transmute!(*mad)).as_bytes()).unwrap();
    }

    fn receive(&self) -> (Lid, SaMad) {
        let mut datagram = Datagram::new_zeroed();
        self.data.recv(datagram.as_mut_bytes()).unwrap();
        assert!(!datagram.is_timed_out(), "the subnet manager does not answer");
        (Lid::new(datagram.slid.get()), transmute!(datagram.mad))
    }

    /// Asks a control message.
    fn ask<T: FromBytes + IntoBytes + Immutable>(&self, kind: ControlKind, data: &T) -> T {
        let mut message = Control::new(self.slot, kind, data);
        self.control.send(message.as_bytes()).unwrap();
        self.control.recv(message.as_mut_bytes()).unwrap();
        assert_ne!(message.kind, ControlKind::ERROR);
        T::read_from_prefix(&message.data).unwrap().0
    }
}
