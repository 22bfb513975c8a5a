//! A port's queue pair 0 in the hands of a test: it sends and receives subnet management packets (SMPs) as an SM does.

use std::path::Path;
use std::time::Instant;

use iba::attr::{CapabilityMask, PortInfo, SmInfo};
use iba::mad::{Attribute, AttributeId, Class, MadHeader, Method};
use iba::smp::Smp;
use iba::{Lid, PortNum, TransactionId};
use umad_protocol::{ControlKind, Datagram};
use zerocopy::{FromZeros, transmute};

use crate::capture::tshark;
use crate::lines::PATIENCE;
use crate::site::Site;
use crate::umad::{Role, UmadClient};

/// Bits of a transaction id that a test numbers; those above the next are the server's.
const NUMBER: u64 = 0x00ff_ffff;
/// Mark of a test's transactions: OpenSM counts its own from 1 on.
const MARK: u64 = 0x7e00_0000;

/// The queue pair 0 of a port, with a subnet manager registered there. At a bridge it is the partition's aliased one.
#[derive(Debug)]
pub struct QueuePair0 {
    client: UmadClient,
}

/// An SMP that arrived, or a request that came back unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// LID that sent it.
    pub from: Lid,
    /// Method of the SMP.
    pub method: Method,
    /// Attribute of the SMP.
    pub attribute: AttributeId,
    /// Number that its sender gave it.
    pub number: u32,
    /// `true` if the request came back because no response arrived.
    pub is_timed_out: bool,
}

/// Destination of an SMP.
#[derive(Clone, Copy, Debug)]
pub enum Destination<'a> {
    /// The port with this LID.
    Lid(u16),
    /// The end of this directed route: a port number for each hop.
    Route(&'a [u8]),
}

impl QueuePair0 {
    /// Opens the queue pair 0 of port 1 of the site's host, as a subnet manager.
    ///
    /// # Panics
    /// Another subnet manager is there, or the server has no free slot.
    #[must_use]
    pub fn open(site: &Site) -> Self {
        Self { client: UmadClient::attach(site, Role::Sm) }.registered()
    }

    /// Waits until the port's agent knows of the subnet manager: until then it hands over nothing.
    fn registered(self) -> Self {
        let deadline = Instant::now() + PATIENCE;
        while !self.get::<PortInfo>(Destination::Route(&[]), 0).capability_mask().contains(CapabilityMask::SM) {
            assert!(Instant::now() < deadline, "the agent does not take the port for a subnet manager's");
        }
        self
    }

    /// As [`Self::open`], at port `port`.
    ///
    /// # Panics
    /// As [`Self::open`].
    #[must_use]
    pub fn open_at(site: &Site, port: u8) -> Self {
        let this = Self::open(site);
        let _ = this.client.ask(ControlKind::SET_PORT, &[port]);
        this.registered()
    }

    /// Opens the queue pair 0 of the site's host for requests alone: another subnet manager may be there.
    ///
    /// # Panics
    /// The server has no free slot.
    #[must_use]
    pub fn open_for_requests(site: &Site) -> Self {
        Self { client: UmadClient::attach(site, Role::Requester) }
    }

    /// Returns methods and attributes of the packets in `capture` that have this number.
    ///
    /// # Panics
    /// tshark fails.
    #[must_use]
    pub fn frames(capture: &Path, number: u32) -> Vec<(u8, u16)> {
        let fields = ["infiniband.mad.transactionid", "infiniband.mad.method", "infiniband.mad.attributeid"];
        let rows = tshark(capture, "infiniband.mad.mgmtclass in {0x01, 0x81}", &fields);
        let value = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        let values = rows.iter().map(|row| row.split('\t').map(value).collect::<Vec<_>>());
        let wanted = values.filter(|row| row[0] & (MARK | NUMBER) == MARK | u64::from(number));
        wanted.map(|row| (u8::try_from(row[1]).unwrap(), u16::try_from(row[2]).unwrap())).collect()
    }

    /// Sends an SMP with `method` and attribute `A`, and number `number`, and waits for nothing.
    ///
    /// # Panics
    /// The server is gone.
    pub fn send<A: Attribute>(&self, to: Destination<'_>, method: Method, attribute: &A, modifier: u32, number: u32) {
        let mut smp = Smp::new_zeroed();
        smp.header.base_version = MadHeader::BASE_VERSION;
        (smp.header.class, smp.header.class_version) = (Class::SUBN_LID_ROUTED, 1);
        (smp.header.method, smp.header.attribute_id) = (method, A::ID);
        smp.header.attribute_modifier = modifier.into();
        smp.header.transaction_id = TransactionId::new(MARK | u64::from(number));
        smp.set_attribute(attribute);
        let dlid = match to {
            Destination::Lid(lid) => Lid::new(lid),
            Destination::Route(hops) => {
                smp.header.class = Class::SUBN_DIRECTED_ROUTE;
                (smp.dr_slid, smp.dr_dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
                smp.set_hop_count(u8::try_from(hops.len()).unwrap());
                for (place, hop) in smp.initial_path[1..].iter_mut().zip(hops) {
                    *place = PortNum::new(*hop);
                }
                Lid::PERMISSIVE
            }
        };
        self.client.send(dlid, 0, transmute!(smp));
    }

    /// Sends Get(`A`) and waits for its response, which must be the next packet that arrives.
    ///
    /// # Panics
    /// Another packet arrives, or none.
    pub fn get<A: Attribute + Copy>(&self, to: Destination<'_>, number: u32) -> A {
        self.send(to, Method::GET, &A::new_zeroed(), 0, number);
        let (arrival, smp) = self.next();
        assert_eq!((arrival.method, arrival.number, arrival.is_timed_out), (Method::GET_RESP, number, false));
        *smp.attribute()
    }

    /// Sends Get(SMInfo), which only an SM takes, and waits for nothing.
    ///
    /// # Panics
    /// As [`Self::send`].
    pub fn ask_sm(&self, to: Destination<'_>, number: u32) {
        self.send(to, Method::GET, &SmInfo::new_zeroed(), 0, number);
    }

    /// Returns the next packet that arrives.
    ///
    /// # Panics
    /// None arrives.
    #[must_use]
    pub fn arrival(&self) -> Arrival {
        self.next().0
    }

    fn next(&self) -> (Arrival, Smp) {
        let datagram: Datagram = self.client.receive();
        assert_eq!((datagram.sqp.get(), datagram.dqp.get()), (0, 0), "from a queue pair 0 to a queue pair 0");
        let smp: Smp = transmute!(datagram.mad);
        let arrival = Arrival {
            from: Lid::new(datagram.slid.get()),
            method: smp.header.method,
            attribute: smp.header.attribute_id,
            number: u32::try_from(smp.header.transaction_id.get() & NUMBER).unwrap_or_default(),
            is_timed_out: datagram.is_timed_out(),
        };
        (arrival, smp)
    }
}
