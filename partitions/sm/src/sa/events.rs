//! Events: subscriptions, and reports under way (IBA vol. 1, 13.4.8.3, 13.4.9, 15.4).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use iba::attr::PortState;
use iba::mad::{AttributeId, Class, MadHeader, Method, Status};
use iba::notice::{GidChange, Notice, ReportedNotice, TrapNumber};
use iba::sa::{InformInfo, InformInfoRecord, Record, SaMad};
use iba::{Gid, GidPrefix, Guid, Lid, ProducerType, Qpn, Sl};
use zerocopy::{FromZeros, transmute};

use super::path::gid_of;
use super::records::Records;
use crate::config::Config;
use crate::outlet::{Address, Outlet};
use crate::topology::{Port, Topology};
use crate::transactions::Transactions;

/// More subscriptions than this are refused.
const MAX_SUBSCRIPTIONS: usize = 1024;

/// More reports than this do not wait; what happens while so many do is not told, as a trap may be lost.
const MAX_REPORTS: usize = 2048;

/// [`InformInfo::subscribe`].
const END: u8 = 0;
const SUBSCRIBE: u8 = 1;

/// Wildcards for types, traps and producers (13.4.8.3).
const ALL_TYPES: u16 = 0xffff;
const ALL_TRAPS: TrapNumber = TrapNumber::new(0xffff);
const ALL_PRODUCERS: ProducerType = ProducerType::new(0xff_ffff);

/// Subscriptions and reports.
#[derive(Debug)]
pub(crate) struct Events {
    subscriptions: Vec<Subscription>,
    reports: Transactions<()>,
    /// Ports whose GIDs were reported in service.
    in_service: BTreeSet<Guid>,
}

/// Subscriptions.
#[derive(Debug, PartialEq)]
struct Subscription {
    /// The subscriber's port.
    port: Guid,
    qp: Qpn,
    sl: Sl,
    wanted: InformInfo,
}

impl Events {
    /// None yet; reports have ids behind `first`.
    pub(crate) fn new(config: &Config, first: u32) -> Self {
        let reports = Transactions::new(config, first);
        Self { subscriptions: Vec::new(), reports, in_service: BTreeSet::new() }
    }

    /// Begins or ends a subscription of who asks for it.
    ///
    /// # Errors
    /// The status of a refusal.
    pub(crate) fn subscribe(
        &mut self,
        from: &Address,
        request: &SaMad,
        topology: &Topology,
    ) -> Result<InformInfo, Status> {
        let asked: &InformInfo = request.record();
        let port = at(topology, from.lid).ok_or(Status::SA_DENIED)?.guid;
        // What says how to answer, and that it begins or ends, is no part of what it is of.
        let mut wanted = *asked;
        wanted.subscribe = SUBSCRIBE;
        wanted.set_qpn(0);
        wanted.set_response_time_value(0);
        let subscription = Subscription { port, qp: from.qp, sl: from.sl, wanted };
        let known = self.subscriptions.iter().position(|known| *known == subscription);
        match (asked.subscribe, known) {
            (SUBSCRIBE, Some(_)) => {}
            (SUBSCRIBE, None) if self.subscriptions.len() == MAX_SUBSCRIPTIONS => return Err(Status::SA_NO_RESOURCES),
            (SUBSCRIBE, None) => self.subscriptions.push(subscription),
            (END, Some(index)) => {
                self.subscriptions.remove(index);
            }
            _ => return Err(Status::SA_INVALID_REQUEST),
        }
        Ok(*asked)
    }

    /// Reports `notice` to its subscribers.
    pub(crate) fn tell(&mut self, notice: &Notice, topology: &Topology) {
        let issuer_gid = at(topology, notice.issuer_lid).map(gid_of).unwrap_or_default();
        let event = ReportedNotice { notice: *notice, issuer_gid };
        for subscription in self.subscriptions.iter().filter(|subscription| is_of(&subscription.wanted, &event)) {
            let port = topology.ends().find(|(_, port)| port.guid == subscription.port);
            if let Some((_, port)) = port
                && self.reports.len() < MAX_REPORTS
            {
                let to = Address { lid: port.info.lid, qp: subscription.qp, sl: subscription.sl };
                self.reports.ask_general((), to, transmute!(report(&event)));
            }
        }
    }

    /// Tells of all ports that came or went since this was called last, and forgets subscribers whose ports went.
    pub(crate) fn note_ports(&mut self, topology: &Topology) {
        let is_active = |port: &Port| port.info.lid.is_unicast() && port.info.port_state() == PortState::ACTIVE;
        let now: BTreeSet<Guid> =
            topology.ends().filter(|(_, port)| is_active(port)).map(|(_, port)| port.guid).collect();
        let before = core::mem::replace(&mut self.in_service, now);
        self.subscriptions.retain(|subscription| self.in_service.contains(&subscription.port));
        let gone = before.difference(&self.in_service).map(|&guid| (TrapNumber::GID_OUT_OF_SERVICE, guid));
        let come = self.in_service.difference(&before).map(|&guid| (TrapNumber::GID_IN_SERVICE, guid));
        let changes: Vec<_> = gone.chain(come).collect();
        for (trap, guid) in changes {
            self.tell_of_gid(trap, Gid { prefix: GidPrefix::DEFAULT, guid }, topology);
        }
    }

    /// Tells what became of a port's or a group's GID.
    pub(crate) fn tell_of_gid(&mut self, trap: TrapNumber, gid: Gid, topology: &Topology) {
        let own = topology.own().map_or(Lid::UNASSIGNED, |(_, port)| port.info.lid);
        let mut change = GidChange::default();
        change.gid = gid;
        self.tell(&Notice::new(trap, ProducerType::CLASS_MANAGER, own, &change), topology);
    }

    /// Takes what a subscriber says to a report.
    pub(crate) fn take(&mut self, from: &Address, mad: &SaMad) {
        if mad.header.method == Method::REPORT_RESP {
            // It has come; what its receiver thinks of it is of no consequence.
            let _ = self.reports.answer(from.lid, &mad.header);
        }
    }

    /// Sends reports, and repeats those that are not answered; says when to come again.
    pub(crate) fn poll(&mut self, now: Duration, out: &mut impl Outlet) -> Option<Duration> {
        while self.reports.expire(now, out).is_some() {}
        self.reports.send(now, out);
        self.reports.deadline()
    }

    /// The subscriptions that `request` names.
    ///
    /// # Errors
    /// They are too many for a table.
    pub(crate) fn records(&self, request: &SaMad) -> Result<Records, Status> {
        let (wanted, mask): (&InformInfoRecord, u64) = (request.record(), request.component_mask.get());
        let mut records = Records::default();
        for (number, subscription) in (0_u16..).zip(&self.subscriptions) {
            let mut record = InformInfoRecord::default();
            record.subscriber = Gid { prefix: GidPrefix::DEFAULT, guid: subscription.port };
            (record.number, record.inform) = (number.into(), subscription.wanted);
            record.inform.set_qpn(subscription.qp.get());
            if record.matches(wanted, mask) {
                records.push(&record)?;
            }
        }
        Ok(records)
    }

    /// Removes all subscriptions: clients subscribe again with a new master.
    pub(crate) fn clear(&mut self) {
        self.subscriptions.clear();
        self.reports.clear();
        self.in_service.clear();
    }
}

/// The port with this LID.
fn at(topology: &Topology, lid: Lid) -> Option<&Port> {
    topology.ends().map(|(_, port)| port).find(|port| lid.is_unicast() && port.info.lid == lid)
}

/// Returns `true` if a subscription matches this event (13.4.8.3).
fn is_of(wanted: &InformInfo, event: &ReportedNotice) -> bool {
    let notice = &event.notice;
    let notice_type = notice.notice_type().get();
    let is_from = if wanted.gid != Gid::default() {
        wanted.gid == event.issuer_gid
    } else {
        wanted.lid_first == Lid::PERMISSIVE || (wanted.lid_first..=wanted.lid_last).contains(&notice.issuer_lid)
    };
    is_from
        && (wanted.is_generic != 0) == notice.is_generic()
        && [ALL_TYPES, notice_type.into()].contains(&wanted.notice_type.get())
        && [ALL_TRAPS, notice.trap_number].contains(&wanted.trap_number)
        && [ALL_PRODUCERS, notice.producer].contains(&wanted.producer)
}

/// The datagram that tells of `event`.
fn report(event: &ReportedNotice) -> SaMad {
    let mut mad = SaMad::new_zeroed();
    (mad.header.base_version, mad.header.class) = (MadHeader::BASE_VERSION, Class::SUBN_ADM);
    (mad.header.class_version, mad.header.method) = (SaMad::CLASS_VERSION, Method::REPORT);
    mad.header.attribute_id = AttributeId::NOTICE;
    mad.set_record(event);
    mad
}
