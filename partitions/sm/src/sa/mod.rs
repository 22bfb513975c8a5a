//! Subnet administration (SA): requests of clients to a master, at queue pair 1 (IBA vol. 1, 15.2).

mod bound;
mod events;
mod groups;
mod path;
mod query;
mod rate;
mod records;
mod transfer;

use alloc::vec::Vec;
use core::time::Duration;

use iba::SmKey;
use iba::mad::{AttributeId, Class, MadHeader, Method, Status};
use iba::pma::ClassPortInfo;
use iba::rmpp::{RmppHeader, RmppType};
use iba::sa::{InformInfo, InformInfoRecord, McMemberRecord, Record, SaMad};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use self::events::Events;
pub(crate) use self::groups::Groups;
pub(crate) use self::records::Knowledge;
use self::records::{MAX_TABLES, Records};
use self::transfer::Transfer;
use crate::config::Config;
use crate::outlet::{Address, Outlet};
use crate::topology::Topology;

/// ClassPortInfo's RespTimeValue: an answer takes at most 4.096 us x 2^18, a second.
const RESPONSE_TIME: u8 = 18;

/// ClassPortInfo's capabilities: optional records, multicast, and PortInfoRecords by single bits of their capability
/// mask (15.2.4.1).
const CAPABILITIES: u16 = 1 << 8 | 1 << 9 | 1 << 13;

/// The administration.
#[derive(Debug)]
pub(crate) struct Administration {
    transfers: Vec<Transfer>,
    pub(crate) groups: Groups,
    pub(crate) events: Events,
}

impl Administration {
    /// Creates an administration without clients; its own requests have ids behind `first`.
    pub(crate) fn new(config: &Config, first: u32) -> Self {
        Self { transfers: Vec::new(), groups: Groups::default(), events: Events::new(config, first) }
    }

    /// Deals with a datagram of this class.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        from: &Address,
        mad: &SaMad,
        known: Knowledge<'_>,
        out: &mut impl Outlet,
    ) {
        // What begins with a segment is a request like others, as far as we take any.
        if mad.rmpp.is_active() && mad.rmpp.kind != RmppType::DATA {
            return self.go_on(now, from, mad, out);
        }
        if mad.header.method.is_response() {
            return self.events.take(from, mad);
        }
        if mad.header.base_version != MadHeader::BASE_VERSION || mad.header.class_version != SaMad::CLASS_VERSION {
            return refuse(from, mad, Status::BAD_VERSION, out);
        }
        match (mad.header.method, mad.header.attribute_id) {
            (Method::GET, AttributeId::CLASS_PORT_INFO) => answer(from, mad, &class_port_info(), out),
            (Method::SET, InformInfo::ID) => match self.events.subscribe(from, mad, known.topology) {
                Ok(record) => answer(from, mad, &record, out),
                Err(status) => refuse(from, mad, status, out),
            },
            (Method::SET, McMemberRecord::ID) => match self.groups.join(from, mad, known) {
                Ok(record) => answer(from, mad, &record, out),
                Err(status) => refuse(from, mad, status, out),
            },
            (Method::DELETE, McMemberRecord::ID) => match self.groups.leave(from, mad, known) {
                Ok(record) => answer(from, mad, &record, out),
                Err(status) => refuse(from, mad, status, out),
            },
            (Method::GET, _) => match self.records(mad, known) {
                Ok(Records { count: 1, bytes, step }) => answer_bytes(from, mad, &bytes, step, out),
                Ok(Records { count: 0, .. }) => refuse(from, mad, Status::SA_NO_RECORDS, out),
                Ok(_) => refuse(from, mad, Status::SA_TOO_MANY_RECORDS, out),
                Err(status) => refuse(from, mad, status, out),
            },
            (Method::GET_TABLE, _) => match self.records(mad, known) {
                Ok(records) => self.send(now, from, mad, records, out),
                Err(status) => refuse(from, mad, status, out),
            },
            (Method::SET | Method::DELETE, _) => refuse(from, mad, Status::BAD_METHOD_ATTRIBUTE, out),
            _ => refuse(from, mad, Status::BAD_METHOD, out),
        }
        self.tell_of_groups(known.topology);
    }

    /// Lets go of members of groups whose ports are gone.
    pub(crate) fn retain_members(&mut self, topology: &Topology) {
        self.groups.retain(topology);
        self.tell_of_groups(topology);
    }

    fn tell_of_groups(&mut self, topology: &Topology) {
        for (trap, gid) in self.groups.take_news() {
            self.events.tell_of_gid(trap, gid, topology);
        }
    }

    /// Repeats reports without an acknowledgement, and returns the time of the next call.
    pub(crate) fn poll(&mut self, now: Duration, out: &mut impl Outlet) -> Option<Duration> {
        self.transfers.retain_mut(|transfer| transfer.expire(now, out));
        self.transfers.iter().map(Transfer::deadline).chain(self.events.poll(now, out)).min()
    }

    /// Forgets all: another is master, or was.
    pub(crate) fn clear(&mut self) {
        self.transfers.clear();
        self.groups.clear();
        self.events.clear();
    }

    /// All records that `request` names.
    fn records(&self, request: &SaMad, known: Knowledge<'_>) -> Result<Records, Status> {
        match request.header.attribute_id {
            McMemberRecord::ID => self.groups.records(request, known),
            InformInfoRecord::ID => self.events.records(request),
            _ => query::records(request, known, &self.groups),
        }
    }

    /// Begins to send a table.
    fn send(&mut self, now: Duration, to: &Address, request: &SaMad, records: Records, out: &mut impl Outlet) {
        if self.transfers.iter().any(|transfer| transfer.is_of(to, request)) {
            return; // the same request again: its answer is on its way
        }
        if self.transfers.iter().map(Transfer::bytes).sum::<usize>() + records.bytes.len() > MAX_TABLES {
            return refuse(to, request, Status::BUSY, out);
        }
        let head = head(request, Method::GET_TABLE_RESP, Status::OK, records.step);
        self.transfers.push(Transfer::begin(now, to, head, records.bytes, out));
    }

    /// Takes what the receiver of a table says.
    fn go_on(&mut self, now: Duration, from: &Address, mad: &SaMad, out: &mut impl Outlet) {
        let transfer = self.transfers.iter().position(|transfer| transfer.is_of(from, mad));
        if let Some(index) = transfer
            && self.transfers[index].take(now, &mad.rmpp, out)
        {
            self.transfers.swap_remove(index);
        }
    }
}

/// The headers of an answer, with no data.
fn head(request: &SaMad, method: Method, status: Status, step: usize) -> SaMad {
    let mut mad = SaMad::new_zeroed();
    mad.header = request.header;
    (mad.header.class, mad.header.method, mad.header.status) = (Class::SUBN_ADM, method, status);
    (mad.rmpp, mad.sm_key) = (RmppHeader::default(), SmKey::default());
    mad.attribute_offset = u16::try_from(step / 8).unwrap_or(0).into(); // records have 200 bytes at most
    mad.component_mask = request.component_mask;
    mad
}

/// The method that answers another.
fn response(method: Method) -> Method {
    match method {
        Method::SET => Method::GET_RESP,
        method => Method::new(method.get() | 0x80),
    }
}

fn refuse(to: &Address, request: &SaMad, status: Status, out: &mut impl Outlet) {
    let mut mad = head(request, response(request.header.method), status, 0);
    mad.data = request.data;
    out.send(to, zerocopy::transmute_ref!(&mad));
}

fn answer<T: IntoBytes + Immutable>(to: &Address, request: &SaMad, record: &T, out: &mut impl Outlet) {
    answer_bytes(to, request, record.as_bytes(), size_of::<T>().next_multiple_of(8), out);
}

fn answer_bytes(to: &Address, request: &SaMad, record: &[u8], step: usize, out: &mut impl Outlet) {
    let mut mad = head(request, response(request.header.method), Status::OK, step);
    for (into, from) in mad.data.iter_mut().zip(record) {
        *into = *from;
    }
    out.send(to, zerocopy::transmute_ref!(&mad));
}

fn class_port_info() -> ClassPortInfo {
    let mut info = ClassPortInfo::default();
    (info.base_version, info.class_version) = (MadHeader::BASE_VERSION, SaMad::CLASS_VERSION);
    info.capability_mask = CAPABILITIES.into();
    info.set_response_time_value(RESPONSE_TIME);
    info
}
