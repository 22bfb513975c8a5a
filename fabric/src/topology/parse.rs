//! Parser of netlists.
//!
//! A record is a line for the node (`Switch`, `Ca`, or `Hca`, number of ports, id in quotes), and a line for each of
//! its cables (`[port] "id of the other node"[port there]`), up to an empty line. Lines `vendid=`, `devid=`,
//! `sysimgguid=`, `switchguid=` and `caguid=` belong to the next node. A port's widths and speeds are options before
//! the comment (`w=`, `s=`, `e=`: masks as in PortInfo), or, as ibnetdiscover prints them, the last word of the comment
//! (`4xEDR`). ibnetdiscover also prints a node's description in quotes in its comment.
//!
//! Two deliberate differences from ibsim: an unknown line is refused rather than skipped, and a GUID line holds for one
//! node rather than for all that follow.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use iba::{Guid, PortNum};

use super::fault::{Fault, MAX_DESCRIPTION, ParseError};
use super::rest::Rest;
use super::{Kind, Node, Port, PortRef, Topology, guids};
use cable::Abilities;

/// A cable as written, before all nodes are known.
struct CableLine {
    line: usize,
    from: (usize, usize),
    to: (String, u64),
}

/// Settings of the next node.
#[derive(Default)]
struct Pending {
    vendor_id: Option<u32>,
    device_id: Option<u16>,
    system_image_guid: Option<Guid>,
    guid: Option<Guid>,
}

#[derive(Default)]
struct Parser {
    topology: Topology,
    /// By node: its line.
    lines: Vec<usize>,
    ids: HashMap<String, usize>,
    cables: Vec<CableLine>,
    pending: Pending,
    in_record: bool,
    abilities: Abilities,
}

impl Topology {
    /// Parses a netlist.
    ///
    /// # Errors
    /// [`ParseError`] is the first mistake, with its line.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser::default();
        for (line, text) in (1..).zip(text.lines()) {
            parser.line(line, text).map_err(|fault| ParseError { line, fault })?;
        }
        parser.finish()
    }
}

impl Parser {
    fn line(&mut self, line: usize, text: &str) -> Result<(), Fault> {
        let mut rest = Rest(text.trim());
        if rest.is_empty() {
            self.in_record = false;
            return Ok(());
        }
        if rest.starts_with('#') {
            return Ok(());
        }
        if rest.starts_with('[') {
            return self.port(line, rest);
        }
        self.in_record = false;
        if rest.eat("Switch") {
            self.node(line, Kind::Switch, rest)
        } else if rest.eat("Hca") || rest.eat("Ca") {
            self.node(line, Kind::Host, rest)
        } else {
            self.setting(rest)
        }
    }

    /// Reads `key=value`: a setting of the next node, or (width, speed) of all ports that follow.
    fn setting(&mut self, mut rest: Rest<'_>) -> Result<(), Fault> {
        let unknown = rest.expected(ANY_LINE);
        let Some((key, value)) = rest.0.split_once('=') else {
            return Err(unknown);
        };
        rest = Rest(value);
        let value = rest.number("a number")?;
        match key.trim_end() {
            "vendid" => self.pending.vendor_id = Some(limited("the vendor id", value, 0..=0xff_ffff, "24 bits")?),
            "devid" => self.pending.device_id = Some(limited("the device id", value, 0..=0xffff, "16 bits")?),
            "sysimgguid" => self.pending.system_image_guid = Some(Guid::new(value)),
            "switchguid" | "caguid" | "hcaguids" => self.pending.guid = Some(guid(value)?),
            "width" => self.abilities.widths = width(value)?,
            "speed" => self.abilities.speeds = speed(value)?,
            "extspeed" => self.abilities.speeds_ext = speed_ext(value)?,
            _ => return Err(unknown),
        }
        // ibnetdiscover repeats a switch's GUID as `(port GUID)`.
        if rest.eat("(") {
            rest.until(')', "`)`")?;
        }
        rest.end()
    }

    fn node(&mut self, line: usize, kind: Kind, mut rest: Rest<'_>) -> Result<(), Fault> {
        let ports = rest.number("the number of ports")?;
        let ports: usize = limited("the number of ports", ports, 1..=MAX_PORTS as u64, "1 to 254")?;
        let id = rest.quoted("the node's id in quotes")?.to_owned();
        let description = match rest.comment()? {
            "" => id.clone(),
            comment => description(comment).to_owned(),
        };
        if description.len() > MAX_DESCRIPTION {
            return Err(Fault::Description(description.len()));
        }
        let pending = std::mem::take(&mut self.pending);
        let guid = pending.guid.unwrap_or_else(|| guids::from_name(&id));
        let index = self.topology.nodes.len();
        match self.ids.entry(id.clone()) {
            Entry::Occupied(first) => return Err(Fault::DuplicateId { id, first: self.lines[*first.get()] }),
            Entry::Vacant(entry) => _ = entry.insert(index),
        }
        self.topology.nodes.push(Node {
            kind,
            id,
            description,
            guid,
            system_image_guid: pending.system_image_guid.unwrap_or(guid),
            vendor_id: pending.vendor_id,
            device_id: pending.device_id,
            ports: vec![Port { peer: None, abilities: self.abilities }; ports],
        });
        self.lines.push(line);
        self.in_record = true;
        Ok(())
    }

    fn port(&mut self, line: usize, mut rest: Rest<'_>) -> Result<(), Fault> {
        let index = self.topology.nodes.len().wrapping_sub(1);
        let Some(node) = self.topology.nodes.get_mut(index).filter(|_| self.in_record) else {
            return Err(Fault::Stray);
        };
        let number = rest.bracketed()?;
        let count = node.ports.len() as u64;
        let slot: usize = limited("the port", number, 1..=count, "one of the node's ports")?;
        if rest.eat("(") {
            rest.until(')', "`)`")?; // the port's GUID, which follows from the node's
        }
        let to = rest.quoted("the id of the other node in quotes")?.to_owned();
        let to_port = if rest.starts_with('[') { rest.bracketed()? } else { 1 };
        if rest.eat("(") {
            rest.until(')', "`)`")?;
        }
        let mut abilities = self.abilities;
        while !rest.is_empty() && !rest.starts_with('#') {
            option(&mut rest, &mut abilities)?;
        }
        if let Some(printed) = printed_abilities(rest.comment()?) {
            abilities = printed;
        }
        node.ports[slot - 1].abilities = abilities;
        if self.cables.iter().rev().take_while(|cable| cable.from.0 == index).any(|cable| cable.from.1 == slot) {
            return Err(Fault::DuplicatePort { port: number });
        }
        self.cables.push(CableLine { line, from: (index, slot), to: (to, to_port) });
        Ok(())
    }

    /// Connects the ends of the cables, now that all nodes are known.
    fn finish(mut self) -> Result<Topology, ParseError> {
        if let Some((first, second, guid)) = guids::duplicate(&self.topology.nodes) {
            let fault = Fault::DuplicateGuid { guid, first: self.lines[first] };
            return Err(ParseError { line: self.lines[second], fault });
        }
        for CableLine { line, from, to } in &self.cables {
            let peer = self.other_end(to).map_err(|fault| ParseError { line: *line, fault })?;
            self.topology.nodes[from.0].ports[from.1 - 1].peer = Some(peer);
        }
        for CableLine { line, from, to } in &self.cables {
            self.check_cable(*from, to).map_err(|fault| ParseError { line: *line, fault })?;
        }
        Ok(self.topology)
    }

    fn other_end(&self, (id, port): &(String, u64)) -> Result<PortRef, Fault> {
        let node = *self.ids.get(id).ok_or_else(|| Fault::UnknownNode { id: id.clone() })?;
        let known = 1..=self.topology.nodes[node].ports.len() as u64;
        match u8::try_from(*port) {
            Ok(number) if known.contains(port) => Ok(PortRef { node, port: PortNum::new(number) }),
            _ => Err(Fault::UnknownPort { id: id.clone(), port: *port }),
        }
    }

    fn check_cable(&self, from: (usize, usize), (id, port): &(String, u64)) -> Result<(), Fault> {
        let near = &self.topology.nodes[from.0].ports[from.1 - 1];
        let far = near.peer.and_then(|peer| self.topology.port(peer));
        let leads_back = |back: PortRef| back.node == from.0 && usize::from(back.port.get()) == from.1;
        match far {
            Some(far) if far.peer.is_some_and(leads_back) => match near.abilities.common(far.abilities) {
                Some(_) => Ok(()),
                None => Err(Fault::NoCommonLink { id: id.clone(), port: *port }),
            },
            _ => Err(Fault::OneWay { id: id.clone(), port: *port }),
        }
    }
}

/// Returns the description in a node line's comment. ibnetdiscover quotes it and adds the node's attributes; ibsim also
/// reads it without quotes.
fn description(comment: &str) -> &str {
    if let Some((description, _)) = comment.strip_prefix('"').and_then(|quoted| quoted.rsplit_once('"')) {
        return description;
    }
    let ends = [" enhanced port ", " base port ", " lid ", " lmc "];
    let end = ends.iter().filter_map(|end| comment.find(end)).min().unwrap_or(comment.len());
    comment[..end].trim_end()
}

/// Reads an option of a port: `w=2`, `s=7`, `e=3`.
fn option(rest: &mut Rest<'_>, abilities: &mut Abilities) -> Result<(), Fault> {
    const EXPECTED: &str = "w=, s=, e= or a comment";
    if rest.eat("w=") {
        abilities.widths = width(rest.number("a mask of widths")?)?;
    } else if rest.eat("s=") {
        abilities.speeds = speed(rest.number("a mask of speeds")?)?;
    } else if rest.eat("e=") {
        abilities.speeds_ext = speed_ext(rest.number("a mask of extended speeds")?)?;
    } else {
        return Err(rest.expected(EXPECTED));
    }
    Ok(())
}

/// Reads the last word of ibnetdiscover's comment, such as `4xEDR`: this width and speed, and all below.
fn printed_abilities(comment: &str) -> Option<Abilities> {
    let (width, speed) = comment.split_whitespace().next_back()?.split_once('x')?;
    let widths = match width {
        "1" => 0x01,
        "2" => 0x11,
        "4" => 0x03,
        "8" => 0x07,
        "12" => 0x0b,
        _ => return None,
    };
    let (speeds, speeds_ext) = match speed {
        "SDR" => (0x1, 0x0),
        "DDR" => (0x3, 0x0),
        "QDR" | "FDR10" => (0x7, 0x0),
        "FDR" => (0x7, 0x1),
        "EDR" => (0x7, 0x3),
        "HDR" => (0x7, 0x7),
        "NDR" => (0x7, 0xf),
        _ => return None,
    };
    Some(Abilities { widths, speeds, speeds_ext })
}

/// Checks the range of `value` and converts it.
fn limited<T: TryFrom<u64>>(
    field: &'static str,
    value: u64,
    range: std::ops::RangeInclusive<u64>,
    text: &'static str,
) -> Result<T, Fault> {
    let fault = Fault::Range { field, value, range: text };
    if range.contains(&value) { T::try_from(value).map_err(|_| fault) } else { Err(fault) }
}

fn width(value: u64) -> Result<u8, Fault> {
    limited("the mask of widths", value, 1..=31, "1 to 31")
}

fn speed(value: u64) -> Result<u8, Fault> {
    limited("the mask of speeds", value, 1..=7, "1 to 7")
}

fn speed_ext(value: u64) -> Result<u8, Fault> {
    limited("the mask of extended speeds", value, 0..=15, "0 to 15")
}

/// Checks that a GUID is not 0 and leaves room for the port numbers.
fn guid(value: u64) -> Result<Guid, Fault> {
    limited("the GUID", value, 1..=u64::MAX - MAX_PORTS as u64, "1 to 0xffffffffffffff01").map(Guid::new)
}

/// Ports of a node, at most: 255 stands for no port in a directed route (IBA vol. 1, 14.2.2).
const MAX_PORTS: usize = 254;
const ANY_LINE: &str = "`Switch`, `Ca`, `Hca`, `[port]`, vendid=, devid=, sysimgguid=, switchguid=, caguid=, width=, \
                        speed=, extspeed= or a comment";
