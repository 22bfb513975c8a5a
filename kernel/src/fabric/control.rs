//! Records of the fabric for the control line, and its requests to ports.

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write};

use control_protocol::{
    Cable, Credits, Guid, HeldObjects, LhcaDrops, LinkStatus, Place, PortState, Qp0, Record, Uplink,
};
use hca_driver::{Doorbell, LinkRequest, Port, Queue};
use iba::PortNum;
use iba::attr::{PortInfo, PortPhysicalState};
use lhca_engine::{Drops, Guest, ObjectCounts};
use subnet::{LhcaId, LogicalPort, Qp0Counters, Time, UPLINK};

use super::Fabric;
use super::physical::Physical;
use super::uplink::uplink_id;

/// Device at a port of a logical switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtPort {
    /// The cable of this physical port: the port is the uplink.
    Cable(Port),
    /// An LHCA.
    Lhca(LhcaId),
}

impl<D: Doorbell, G: Guest> Fabric<D, G> {
    /// Writes a record for each port of an LHCA, and a reason after each port that is not Active.
    ///
    /// # Errors
    /// `answer` is full.
    pub(crate) fn list(&self, id: LhcaId, answer: &mut impl Write) -> fmt::Result {
        let hsma = self.logical.hsma();
        let Some(lhca) = hsma.lhca(id) else { return Ok(()) };
        let cable = if hsma.is_plugged(id) { Cable::In } else { Cable::Out };
        for (place, number) in hsma.places(id).zip((1..).map(PortNum::new)) {
            let Some(info) = lhca.port_info(number) else { continue };
            let record = control_protocol::Port {
                number: number.get(),
                at: Place { uplink: place.uplink.0 + 1, port: place.port.get() },
                guid: Guid(lhca.port_guid(number).unwrap_or_default().get()),
                lid: info.lid.get(),
                state: state_of(info),
                cable,
            };
            writeln!(answer, "{record}")?;
            if let Some(reason) = self.why_inactive(id, place, info) {
                writeln!(answer, "{}", Record::Because(reason))?;
            }
        }
        Ok(())
    }

    /// Returns the reason why a port of an LHCA is not Active.
    fn why_inactive(&self, id: LhcaId, place: LogicalPort, info: &PortInfo) -> Option<&'static str> {
        let hsma = self.logical.hsma();
        let opposite = hsma.switch(place.uplink).and_then(|switch| switch.port_info(place.port));
        let is_disabled = |info: &PortInfo| info.physical_state() == PortPhysicalState::DISABLED;
        let is_linked = self.uplinks.get(usize::from(place.uplink.0)).is_some_and(|uplink| uplink.is_up);
        match state_of(info) {
            PortState::Active => None,
            _ if !hsma.is_plugged(id) => Some("its cable is out"),
            _ if is_disabled(info) => Some("a subnet manager has disabled it"),
            _ if opposite.is_some_and(is_disabled) => Some("a subnet manager has disabled the port that it is at"),
            PortState::Armed => Some("no subnet manager has activated it"),
            _ if info.lid.is_unicast() => Some("no subnet manager has armed it"),
            _ if !is_linked => Some("the uplink is down, and no subnet manager here has given it a LID"),
            _ => Some("no subnet manager has given it a LID"),
        }
    }

    /// Writes the records of the HCA, the logical switches, drops, free slots, and the objects of all partitions.
    ///
    /// # Errors
    /// `answer` is full.
    pub(crate) fn status(&mut self, answer: &mut impl Write) -> fmt::Result {
        match self.hca.identity() {
            Some(hca) => {
                let record = control_protocol::Hca { generation: hca.generation, ports: hca.ports };
                writeln!(answer, "{record}")?;
            }
            None => writeln!(answer, "{}", Record::HcaAbsent)?,
        }
        self.show_uplinks(answer)?;
        self.show_qp0(answer)?;
        let drops = self.drops();
        let record =
            control_protocol::Drops { slots: drops.slots, undelivered: drops.undelivered, unsent: drops.unsent };
        writeln!(answer, "{record}")?;
        self.show_credits(answer)?;
        show_objects(self.logical.objects(), answer)
    }

    /// Writes the state of each uplink and the logical switch behind it.
    fn show_uplinks(&self, answer: &mut impl Write) -> fmt::Result {
        for ((index, uplink), number) in self.uplinks.iter().enumerate().zip(1..) {
            let Some(switch) = self.logical.hsma().switch(uplink_id(index)) else { continue };
            let record = Uplink {
                number,
                link: if uplink.is_up { LinkStatus::Up } else { LinkStatus::Down },
                state: switch.port_info(UPLINK).map_or(PortState::Down, state_of),
                switch: Guid(switch.node_info().node_guid.get()),
                lid: switch.port_info(PortNum::MANAGEMENT).map_or(0, |info| info.lid.get()),
            };
            writeln!(answer, "{record}")?;
        }
        Ok(())
    }

    /// Writes the traffic of the queue pair 0 of each physical port.
    fn show_qp0(&self, answer: &mut impl Write) -> fmt::Result {
        for (index, uplink) in (0..self.uplinks.len()).zip(1..) {
            let Some(qp0) = self.logical.hsma().qp0_counters(uplink_id(index)) else { continue };
            let Qp0Counters { received, looped_back, routed_out, answered, delivered } = qp0;
            writeln!(answer, "{}", Qp0 { uplink, received, looped_back, routed_out, answered, delivered })?;
        }
        Ok(())
    }

    /// Writes the free slots of each uplink's rings; nothing without an HCA.
    fn show_credits(&mut self, answer: &mut impl Write) -> fmt::Result {
        for (uplink, number) in self.uplinks.iter().zip(1..) {
            let [qp0, packet] = Queue::ALL.map(|queue| self.hca.free(uplink.port, queue));
            let Some((qp0, packet)) = qp0.zip(packet) else { continue };
            let record = Credits {
                uplink: number,
                qp0_send: qp0.send,
                qp0_receive: qp0.receive,
                packet_send: packet.send,
                packet_receive: packet.receive,
            };
            writeln!(answer, "{record}")?;
        }
        Ok(())
    }

    /// Writes the drops and the objects of an LHCA whose partition runs; nothing for another LHCA.
    ///
    /// # Errors
    /// `answer` is full.
    pub(crate) fn status_of(&self, id: LhcaId, answer: &mut impl Write) -> fmt::Result {
        let Some(drops) = self.logical.drops(id) else { return Ok(()) };
        let Drops { refused, no_queue_pair, no_room, bad_key } = drops;
        writeln!(answer, "{}", LhcaDrops { refused, no_queue_pair, no_room, bad_key })?;
        show_objects(self.logical.objects_of(id), answer)
    }

    /// Returns the device at a port of a logical switch.
    ///
    /// # Errors
    /// A message for people if the uplink does not exist or the port is empty.
    pub(crate) fn at_port(&self, place: Place) -> Result<AtPort, String> {
        let index = usize::from(place.uplink).wrapping_sub(1);
        let physical = self
            .uplinks
            .get(index)
            .map(|found| found.port)
            .ok_or_else(|| format!("cannot find uplink {}: use one that `status` shows", place.uplink))?;
        let port = LogicalPort { uplink: uplink_id(index), port: PortNum::new(place.port) };
        if port.port == UPLINK {
            return Ok(AtPort::Cable(physical));
        }
        self.lhca_at(port)
            .map(AtPort::Lhca)
            .ok_or_else(|| format!("cannot find an LHCA at port {place}: use a port that `list` shows"))
    }

    /// Enables or disables the link of a physical port.
    pub(crate) fn set_link(&mut self, port: Port, up: bool) {
        self.hca.request_link(port, if up { LinkRequest::Enable } else { LinkRequest::Disable });
    }

    /// Plugs or unplugs an LHCA.
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

/// Returns the state of a port. A port is never in a state that IBA does not define.
fn state_of(info: &PortInfo) -> PortState {
    match info.port_state() {
        iba::attr::PortState::INIT => PortState::Init,
        iba::attr::PortState::ARMED => PortState::Armed,
        iba::attr::PortState::ACTIVE => PortState::Active,
        _ => PortState::Down,
    }
}

/// Writes the number of objects that partitions hold.
fn show_objects(objects: ObjectCounts, answer: &mut impl Write) -> fmt::Result {
    let ObjectCounts { lhcas, queue_pairs, completion_queues, event_queues, memory_regions, attachments } = objects;
    let record = HeldObjects { lhcas, queue_pairs, completion_queues, event_queues, memory_regions, attachments };
    writeln!(answer, "{record}")
}
