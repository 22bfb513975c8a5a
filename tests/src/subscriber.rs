//! A subscriber to the events of a subnet: no installed tool is one.

use std::time::Instant;

use iba::attr::PortInfo;
use iba::mad::{AttributeId, Class, MadHeader, Method, Status};
use iba::notice::{ReportedNotice, TrapNumber};
use iba::sa::{InformInfo, SaMad};
use iba::{Lid, ProducerType, TransactionId};
use umad_protocol::ControlKind;
use zerocopy::{FromZeros, transmute};

use crate::lines::PATIENCE;
use crate::site::Site;
use crate::umad::{Role, UmadClient};

/// A program at a host that subscribes to all events (InformInfo) and responds to each report.
#[derive(Debug)]
pub struct Subscriber {
    client: UmadClient,
}

impl Site {
    /// Subscribes to all events at this site's host.
    ///
    /// # Panics
    /// The subnet has no SM, or its SA refuses.
    #[must_use]
    pub fn subscriber(&self) -> Subscriber {
        Subscriber::begin(self)
    }
}

impl Subscriber {
    /// Attaches to the site's host and subscribes.
    fn begin(site: &Site) -> Self {
        let this = Self { client: UmadClient::attach(site, Role::Requester) };
        this.subscribe();
        this
    }

    /// Waits for the report of an event with this trap number, and returns it.
    ///
    /// # Panics
    /// No such report arrives within [`PATIENCE`].
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
        let port: PortInfo = self.client.ask(ControlKind::GET_PORTINFO, &PortInfo::default());
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
        self.client.send(to, 1, transmute!(*mad));
    }

    fn receive(&self) -> (Lid, SaMad) {
        let datagram = self.client.receive();
        assert!(!datagram.is_timed_out(), "the SM does not respond");
        (Lid::new(datagram.slid.get()), transmute!(datagram.mad))
    }
}
