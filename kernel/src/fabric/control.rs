//! The control channel: lines of text in, lines of text out. The last line of an answer is `ok`, or `error: ` and why.

use core::fmt::{self, Write};

use hca_driver::{Doorbell, LinkRequest};
use iba::PortNum;
use lhca_engine::Guest;
use subnet::{LhcaId, LogicalPort, Time, UPLINK};

use super::physical::Physical;
use super::{Fabric, uplink_id};

/// What can be asked for.
const HELP: &str =
    "say `list`, `status`, or `port [UPLINK/]PORT down|up` (ports of the logical switch; 1 is the uplink)";

impl<D: Doorbell, G: Guest> Fabric<D, G> {
    /// Does what `line` asks for, and answers on `answer`.
    ///
    /// # Errors
    /// `answer` took no more.
    pub fn command(&mut self, now: Time, line: &str, answer: &mut impl Write) -> fmt::Result {
        let mut words = line.split_ascii_whitespace();
        let (verb, object, action) = (words.next(), words.next(), words.next());
        match (verb, object, action, words.next()) {
            (Some("list"), None, None, None) => self.list(answer),
            (Some("status"), None, None, None) => self.status(answer),
            (Some("port"), Some(port), Some(action @ ("down" | "up")), None) => {
                self.set_port(now, port, action == "up", answer)
            }
            _ => writeln!(answer, "error: unknown command: {HELP}"),
        }
    }

    /// One line for each port of each LHCA.
    fn list(&self, answer: &mut impl Write) -> fmt::Result {
        let hsma = self.logical.hsma();
        for id in hsma.lhcas() {
            let Some(lhca) = hsma.lhca(id) else { continue };
            for (place, number) in hsma.places(id).zip(1..) {
                let number = PortNum::new(number);
                let Some(info) = lhca.port_info(number) else { continue };
                writeln!(
                    answer,
                    "{} port {number} guid {} at {}/{} lid {} {}",
                    lhca.description(),
                    lhca.port_guid(number).unwrap_or_default(),
                    place.uplink.0 + 1,
                    place.port,
                    info.lid,
                    info.port_state(),
                )?;
            }
        }
        writeln!(answer, "ok")
    }

    /// The HCA, the logical switches, and what came to nothing.
    fn status(&self, answer: &mut impl Write) -> fmt::Result {
        match self.hca.identity() {
            Some(hca) => writeln!(answer, "hca generation {} ports {}", hca.generation, hca.ports)?,
            None => writeln!(answer, "hca absent")?,
        }
        for (index, uplink) in self.uplinks.iter().enumerate() {
            let Some(switch) = self.logical.hsma().switch(uplink_id(index)) else { continue };
            let lid = switch.port_info(PortNum::MANAGEMENT).map(|info| info.lid).unwrap_or_default();
            let state = switch.port_info(UPLINK).map(iba::attr::PortInfo::port_state).unwrap_or_default();
            let link = if uplink.up { "up" } else { "down" };
            writeln!(
                answer,
                "uplink {} link {link} {state} switch {} lid {lid}",
                index + 1,
                switch.node_info().node_guid
            )?;
        }
        let drops = self.drops();
        writeln!(answer, "drops slots {} undelivered {} unsent {}", drops.slots, drops.undelivered, drops.unsent)?;
        writeln!(answer, "ok")
    }

    /// Pulls or plugs what is at a port of a logical switch: the LHCA, or at the uplink the link itself.
    fn set_port(&mut self, now: Time, name: &str, up: bool, answer: &mut impl Write) -> fmt::Result {
        let (uplink, port) = name.split_once('/').unwrap_or(("1", name));
        let (Ok(uplink), Ok(port)) = (uplink.parse::<usize>(), port.parse::<u8>()) else {
            return writeln!(answer, "error: {name:?} names no port: {HELP}");
        };
        let Some((index, physical)) = self.uplinks.get(uplink.wrapping_sub(1)).map(|found| (uplink - 1, found.port))
        else {
            return writeln!(answer, "error: there is no uplink {uplink}");
        };
        let place = LogicalPort { uplink: uplink_id(index), port: PortNum::new(port) };
        if place.port == UPLINK {
            self.hca.request_link(physical, if up { LinkRequest::Enable } else { LinkRequest::Disable });
            return writeln!(answer, "ok");
        }
        let Some(lhca) = self.lhca_at(place) else { return writeln!(answer, "error: nothing is at port {name}") };
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        let (hsma, mut out) = self.logical.split(now, &mut wire);
        if up {
            hsma.plug(now, lhca, &mut out);
        } else {
            hsma.unplug(now, lhca, &mut out);
        }
        writeln!(answer, "ok")
    }

    fn lhca_at(&self, place: LogicalPort) -> Option<LhcaId> {
        self.logical.hsma().lhcas().find(|&lhca| self.logical.hsma().places(lhca).any(|at| at == place))
    }
}
