//! What the control channel shows of the fabric, and does to it.

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write};

use hca_driver::{Doorbell, LinkRequest, Port, Queue};
use iba::PortNum;
use iba::attr::{PortInfo, PortPhysicalState, PortState};
use lhca_engine::{Counts, Guest, Held};
use subnet::{LhcaId, LogicalPort, Qp0Counters, Time, UPLINK};

use super::physical::Physical;
use super::{Fabric, uplink_id};

/// What a port of a logical switch leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtPort {
    /// The cable of this physical port: it is the uplink.
    Cable(Port),
    /// An LHCA.
    Lhca(LhcaId),
}

impl<D: Doorbell, G: Guest> Fabric<D, G> {
    /// One line for each port of an LHCA, and one more where it is not Active and there is a reason.
    ///
    /// # Errors
    /// `answer` took no more.
    pub(crate) fn list(&self, id: LhcaId, answer: &mut impl Write) -> fmt::Result {
        let hsma = self.logical.hsma();
        let Some(lhca) = hsma.lhca(id) else { return Ok(()) };
        let cable = if hsma.is_plugged(id) { "in" } else { "out" };
        for (place, number) in hsma.places(id).zip((1..).map(PortNum::new)) {
            let Some(info) = lhca.port_info(number) else { continue };
            let guid = lhca.port_guid(number).unwrap_or_default();
            let (uplink, lid, state) = (place.uplink.0 + 1, info.lid.get(), info.port_state());
            writeln!(
                answer,
                "port {number} at {uplink}/{} guid {guid} lid {lid} state {state} cable {cable}",
                place.port
            )?;
            if let Some(why) = self.why_inactive(id, place, info) {
                writeln!(answer, "because {why}")?;
            }
        }
        Ok(())
    }

    /// Why a port of an LHCA is not Active.
    fn why_inactive(&self, id: LhcaId, place: LogicalPort, info: &PortInfo) -> Option<&'static str> {
        let hsma = self.logical.hsma();
        let opposite = hsma.switch(place.uplink).and_then(|switch| switch.port_info(place.port));
        let is_disabled = |info: &PortInfo| info.physical_state() == PortPhysicalState::DISABLED;
        let is_linked = self.uplinks.get(usize::from(place.uplink.0)).is_some_and(|uplink| uplink.up);
        match info.port_state() {
            PortState::ACTIVE => None,
            _ if !hsma.is_plugged(id) => Some("its cable is out"),
            _ if is_disabled(info) => Some("a subnet manager has disabled it"),
            _ if opposite.is_some_and(is_disabled) => Some("a subnet manager has disabled the port that it is at"),
            PortState::ARMED => Some("no subnet manager has activated it"),
            _ if info.lid.is_unicast() => Some("no subnet manager has armed it"),
            _ if !is_linked => Some("the uplink is down, and no subnet manager here has given it a LID"),
            _ => Some("no subnet manager has given it a LID"),
        }
    }

    /// The HCA, the logical switches, what came to nothing, the free slots, and what partitions hold.
    ///
    /// # Errors
    /// `answer` took no more.
    pub(crate) fn status(&mut self, answer: &mut impl Write) -> fmt::Result {
        match self.hca.identity() {
            Some(hca) => writeln!(answer, "hca generation {} ports {}", hca.generation, hca.ports)?,
            None => writeln!(answer, "hca absent")?,
        }
        for (index, uplink) in self.uplinks.iter().enumerate() {
            let Some(switch) = self.logical.hsma().switch(uplink_id(index)) else { continue };
            let lid = switch.port_info(PortNum::MANAGEMENT).map_or(0, |info| info.lid.get());
            let state = switch.port_info(UPLINK).map(PortInfo::port_state).unwrap_or_default();
            let link = if uplink.up { "up" } else { "down" };
            writeln!(
                answer,
                "uplink {} link {link} {state} switch {} lid {lid}",
                index + 1,
                switch.node_info().node_guid
            )?;
        }
        self.show_qp0(answer)?;
        let drops = self.drops();
        writeln!(answer, "drops slots {} undelivered {} unsent {}", drops.slots, drops.undelivered, drops.unsent)?;
        self.show_credits(answer)?;
        self.show_held(None, answer)
    }

    /// Writes the traffic of the queue pair 0 of each physical port.
    fn show_qp0(&self, answer: &mut impl Write) -> fmt::Result {
        for index in 0..self.uplinks.len() {
            let Some(qp0) = self.logical.hsma().qp0_counters(uplink_id(index)) else { continue };
            let Qp0Counters { received, looped_back, routed_out, answered, delivered } = qp0;
            writeln!(
                answer,
                "qp0 uplink {} received {received} looped-back {looped_back} routed-out {routed_out} answered {answered} \
                 delivered {delivered}",
                index + 1
            )?;
        }
        Ok(())
    }

    /// The free slots of each uplink's rings, if there is an HCA.
    fn show_credits(&mut self, answer: &mut impl Write) -> fmt::Result {
        for (uplink, number) in self.uplinks.iter().zip(1..) {
            let [qp0, packet] = Queue::ALL.map(|queue| self.hca.free(uplink.port, queue));
            let Some((qp0, packet)) = qp0.zip(packet) else { continue };
            let [(qp0_send, qp0_receive), (send, receive)] = [qp0, packet].map(|free| (free.send, free.receive));
            writeln!(
                answer,
                "credits uplink {number} qp0-send {qp0_send} qp0-receive {qp0_receive} packet-send {send} \
                 packet-receive {receive}"
            )?;
        }
        Ok(())
    }

    /// What came to nothing at an LHCA whose partition runs, by reason, and what the partition holds.
    ///
    /// # Errors
    /// `answer` took no more.
    pub(crate) fn status_of(&self, id: LhcaId, answer: &mut impl Write) -> fmt::Result {
        let Some(counts) = self.logical.counts(id) else { return Ok(()) };
        let Counts { refused, no_queue_pair, no_room, bad_key } = counts;
        writeln!(answer, "drops refused {refused} no-queue-pair {no_queue_pair} no-room {no_room} bad-key {bad_key}")?;
        self.show_held(Some(id), answer)
    }

    fn show_held(&self, of: Option<LhcaId>, answer: &mut impl Write) -> fmt::Result {
        let held = self.logical.held(of);
        let Held { lhcas, queue_pairs, completion_queues, event_queues, memory_regions, attachments } = held;
        writeln!(
            answer,
            "held lhcas {lhcas} queue-pairs {queue_pairs} completion-queues {completion_queues} event-queues \
             {event_queues} memory-regions {memory_regions} attachments {attachments}"
        )
    }

    /// What is at the port `name` of a logical switch, `[UPLINK/]PORT`.
    ///
    /// # Errors
    /// Why there is no such port, for people.
    pub(crate) fn at_port(&self, name: &str) -> Result<AtPort, String> {
        let (uplink, port) = name.split_once('/').unwrap_or(("1", name));
        let (Ok(uplink), Ok(port)) = (uplink.parse::<usize>(), port.parse::<u8>()) else {
            return Err(format!("{name:?} names no port: say PORT or UPLINK/PORT, as `status` lists them"));
        };
        let index = uplink.wrapping_sub(1);
        let physical = self.uplinks.get(index).map(|found| found.port);
        let physical =
            physical.ok_or_else(|| format!("there is no uplink {uplink}: `status` lists the ports that there are"))?;
        let place = LogicalPort { uplink: uplink_id(index), port: PortNum::new(port) };
        if place.port == UPLINK {
            return Ok(AtPort::Cable(physical));
        }
        self.lhca_at(place)
            .map(AtPort::Lhca)
            .ok_or_else(|| format!("nothing is at port {name}: `status` lists the ports that there are"))
    }

    /// Pulls or plugs the cable of a physical port.
    pub(crate) fn set_link(&mut self, port: Port, up: bool) {
        self.hca.request_link(port, if up { LinkRequest::Enable } else { LinkRequest::Disable });
    }

    /// Pulls or plugs an LHCA.
    pub(crate) fn set_plugged(&mut self, now: Time, lhca: LhcaId, plugged: bool) {
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        let (hsma, mut out) = self.logical.split(now, &mut wire);
        if plugged {
            hsma.plug(now, lhca, &mut out);
        } else {
            hsma.unplug(now, lhca, &mut out);
        }
    }

    fn lhca_at(&self, place: LogicalPort) -> Option<LhcaId> {
        self.logical.hsma().lhcas().find(|&lhca| self.logical.hsma().places(lhca).any(|at| at == place))
    }
}
