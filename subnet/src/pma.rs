//! The performance management agent's attributes (16.1.3).

use iba::PortNum;
use iba::mad::{MadHeader, Status};
use iba::pma::{
    ClassPortInfo, CounterSelect, PerfMad, PmaCapabilities, PortCounters, PortCountersExtended, PortSamplesControl,
    PortSamplesResult,
};

use crate::body::Body;
use crate::counters::{Counters, PortError, Traffic};
use crate::dispatch::PerformanceAttribute;
use crate::time::Time;

/// PortSelect that means all ports, whose counters are then added up.
const ALL_PORTS: PortNum = PortNum::new(0xff);

/// RespTimeValue, like PortInfo's.
const RESPONSE_TIME: u8 = 16;

impl Body {
    /// Answers a Get.
    pub(crate) fn read(&self, attribute: PerformanceAttribute, mad: &mut PerfMad) -> Result<(), Status> {
        none(mad)?;
        match attribute {
            PerformanceAttribute::ClassPortInfo => {
                let can = PmaCapabilities::ALL_PORT_SELECT | PmaCapabilities::EXTENDED_WIDTH;
                let mut info = ClassPortInfo::default();
                info.base_version = MadHeader::BASE_VERSION;
                info.class_version = PerfMad::CLASS_VERSION;
                info.capability_mask = can.bits().into();
                info.set_response_time_value(RESPONSE_TIME);
                mad.set_attribute(&info);
            }
            PerformanceAttribute::PortSamplesControl => {
                let select = mad.attribute::<PortSamplesControl>().port_select;
                self.selected_one(select)?;
                let mut control = self.sampler.control();
                control.port_select = select;
                mad.set_attribute(&control);
            }
            PerformanceAttribute::PortSamplesResult => mad.set_attribute::<PortSamplesResult>(&self.sampler.result()),
            PerformanceAttribute::PortCounters => {
                let asked: PortCounters = *mad.attribute();
                let ports = &self.ports[self.selected(asked.port_select)?];
                let mut answer = counters(ports.iter().map(|port| &port.counters));
                answer.port_select = asked.port_select;
                answer.set_counter_select(asked.counter_select());
                mad.set_attribute(&answer);
            }
            PerformanceAttribute::PortCountersExtended => {
                let asked: PortCountersExtended = *mad.attribute();
                let ports = &self.ports[self.selected(asked.port_select)?];
                let traffic = ports.iter().map(|port| port.counters.extended()).reduce(|sum, next| sum.plus(&next));
                let mut answer = extended(&traffic.unwrap_or_default());
                answer.port_select = asked.port_select;
                answer.counter_select = asked.counter_select;
                mad.set_attribute(&answer);
            }
        }
        Ok(())
    }

    /// Does a Set: counters that are selected take the values that it has.
    pub(crate) fn write(
        &mut self,
        now: Time,
        attribute: PerformanceAttribute,
        mad: &mut PerfMad,
    ) -> Result<(), Status> {
        none(mad)?;
        match attribute {
            PerformanceAttribute::ClassPortInfo | PerformanceAttribute::PortSamplesResult => {
                return Err(Status::BAD_METHOD_ATTRIBUTE);
            }
            PerformanceAttribute::PortSamplesControl => {
                let set: PortSamplesControl = *mad.attribute();
                let port = self.selected_one(set.port_select)?;
                if self.sampler.start(now, port, &set) {
                    self.deadline = Time::default();
                }
            }
            PerformanceAttribute::PortCounters => {
                let set: PortCounters = *mad.attribute();
                let ports = self.selected(set.port_select)?;
                self.ports[ports].iter_mut().for_each(|port| set_counters(&mut port.counters, &set));
            }
            PerformanceAttribute::PortCountersExtended => {
                let set: PortCountersExtended = *mad.attribute();
                let ports = self.selected(set.port_select)?;
                self.ports[ports].iter_mut().for_each(|port| set_extended(&mut port.counters, &set));
            }
        }
        self.read(attribute, mad)
    }

    /// The port that PortSelect means, by where it is.
    fn selected_one(&self, select: PortNum) -> Result<usize, Status> {
        Some(self.index(select)).filter(|&index| index < self.ports.len()).ok_or(Status::INVALID_FIELD)
    }

    /// The ports that PortSelect means, by where they are.
    fn selected(&self, select: PortNum) -> Result<core::ops::Range<usize>, Status> {
        match select {
            ALL_PORTS => Ok(0..self.ports.len()),
            _ => self.selected_one(select).map(|index| index..index + 1),
        }
    }
}

/// Performance management's attributes have no modifiers.
fn none(mad: &PerfMad) -> Result<(), Status> {
    if mad.header.attribute_modifier.get() == 0 { Ok(()) } else { Err(Status::INVALID_FIELD) }
}

/// PortCounters of some ports together.
fn counters<'a>(ports: impl Iterator<Item = &'a Counters> + Clone) -> PortCounters {
    let error = |error| ports.clone().fold(0u32, |sum, port| sum.saturating_add(port.error(error)));
    let traffic = ports.clone().map(Counters::short).reduce(|sum, next| sum.plus(&next)).unwrap_or_default();
    let mut answer = PortCounters::default();
    answer.symbol_error_counter = word(error(PortError::Symbol)).into();
    answer.link_error_recovery_counter = byte(error(PortError::LinkErrorRecovery));
    answer.link_downed_counter = byte(error(PortError::LinkDowned));
    answer.port_rcv_errors = word(error(PortError::Rcv)).into();
    answer.port_rcv_remote_physical_errors = word(error(PortError::RcvRemotePhysical)).into();
    answer.port_rcv_switch_relay_errors = word(error(PortError::RcvSwitchRelay)).into();
    answer.port_xmit_discards = word(error(PortError::XmitDiscard)).into();
    answer.port_xmit_constraint_errors = byte(error(PortError::XmitConstraint));
    answer.port_rcv_constraint_errors = byte(error(PortError::RcvConstraint));
    answer.set_local_link_integrity_errors(byte(error(PortError::LocalLinkIntegrity)).min(15));
    answer.set_excessive_buffer_overrun_errors(byte(error(PortError::ExcessiveBufferOverrun)).min(15));
    answer.vl15_dropped = word(error(PortError::Vl15Dropped)).into();
    answer.port_xmit_data = long(traffic.xmit_data).into();
    answer.port_rcv_data = long(traffic.rcv_data).into();
    answer.port_xmit_packets = long(traffic.xmit_packets).into();
    answer.port_rcv_packets = long(traffic.rcv_packets).into();
    answer
}

fn set_counters(counters: &mut Counters, set: &PortCounters) {
    let selected = set.counter_select();
    let errors = [
        (CounterSelect::SYMBOL_ERROR, PortError::Symbol, set.symbol_error_counter.get()),
        (CounterSelect::LINK_ERROR_RECOVERY, PortError::LinkErrorRecovery, set.link_error_recovery_counter.into()),
        (CounterSelect::LINK_DOWNED, PortError::LinkDowned, set.link_downed_counter.into()),
        (CounterSelect::RCV_ERRORS, PortError::Rcv, set.port_rcv_errors.get()),
        (
            CounterSelect::RCV_REMOTE_PHYSICAL_ERRORS,
            PortError::RcvRemotePhysical,
            set.port_rcv_remote_physical_errors.get(),
        ),
        (CounterSelect::RCV_SWITCH_RELAY_ERRORS, PortError::RcvSwitchRelay, set.port_rcv_switch_relay_errors.get()),
        (CounterSelect::XMIT_DISCARDS, PortError::XmitDiscard, set.port_xmit_discards.get()),
        (CounterSelect::XMIT_CONSTRAINT_ERRORS, PortError::XmitConstraint, set.port_xmit_constraint_errors.into()),
        (CounterSelect::RCV_CONSTRAINT_ERRORS, PortError::RcvConstraint, set.port_rcv_constraint_errors.into()),
        (
            CounterSelect::LOCAL_LINK_INTEGRITY_ERRORS,
            PortError::LocalLinkIntegrity,
            set.local_link_integrity_errors().into(),
        ),
        (
            CounterSelect::EXCESSIVE_BUFFER_OVERRUN_ERRORS,
            PortError::ExcessiveBufferOverrun,
            set.excessive_buffer_overrun_errors().into(),
        ),
        (CounterSelect::VL15_DROPPED, PortError::Vl15Dropped, set.vl15_dropped.get()),
    ];
    for (flag, error, value) in errors {
        if selected.contains(flag) {
            counters.set_error(error, value.into());
        }
    }
    counters.set_short(|traffic| {
        choose(&mut traffic.xmit_data, selected.contains(CounterSelect::XMIT_DATA), set.port_xmit_data.get());
        choose(&mut traffic.rcv_data, selected.contains(CounterSelect::RCV_DATA), set.port_rcv_data.get());
        choose(&mut traffic.xmit_packets, selected.contains(CounterSelect::XMIT_PACKETS), set.port_xmit_packets.get());
        choose(&mut traffic.rcv_packets, selected.contains(CounterSelect::RCV_PACKETS), set.port_rcv_packets.get());
    });
}

fn extended(traffic: &Traffic) -> PortCountersExtended {
    let mut answer = PortCountersExtended::default();
    answer.port_xmit_data = traffic.xmit_data.into();
    answer.port_rcv_data = traffic.rcv_data.into();
    answer.port_xmit_packets = traffic.xmit_packets.into();
    answer.port_rcv_packets = traffic.rcv_packets.into();
    answer.port_unicast_xmit_packets = traffic.unicast_xmit_packets.into();
    answer.port_unicast_rcv_packets = traffic.unicast_rcv_packets.into();
    answer.port_multicast_xmit_packets = traffic.multicast_xmit_packets.into();
    answer.port_multicast_rcv_packets = traffic.multicast_rcv_packets.into();
    answer
}

fn set_extended(counters: &mut Counters, set: &PortCountersExtended) {
    let selected = |bit: u16| set.counter_select.get() & 1 << bit != 0;
    counters.set_extended(|traffic| {
        choose(&mut traffic.xmit_data, selected(0), set.port_xmit_data.get());
        choose(&mut traffic.rcv_data, selected(1), set.port_rcv_data.get());
        choose(&mut traffic.xmit_packets, selected(2), set.port_xmit_packets.get());
        choose(&mut traffic.rcv_packets, selected(3), set.port_rcv_packets.get());
        choose(&mut traffic.unicast_xmit_packets, selected(4), set.port_unicast_xmit_packets.get());
        choose(&mut traffic.unicast_rcv_packets, selected(5), set.port_unicast_rcv_packets.get());
        choose(&mut traffic.multicast_xmit_packets, selected(6), set.port_multicast_xmit_packets.get());
        choose(&mut traffic.multicast_rcv_packets, selected(7), set.port_multicast_rcv_packets.get());
    });
}

fn choose(counter: &mut u64, selected: bool, value: impl Into<u64>) {
    if selected {
        *counter = value.into();
    }
}

fn byte(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

fn word(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn long(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
