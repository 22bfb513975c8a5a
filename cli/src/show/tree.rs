//! A subnet as a tree, one line for each port with a link.

use std::fmt;
use std::iter;

use iba::attr::{LinkSpeed, LinkSpeedExt, LinkWidth, PortInfo};

use super::subnet::{Node, Port, Subnet};

/// Drawing of a subnet, from its first switch down.
pub(crate) struct Tree<'a>(pub(crate) &'a Subnet);

/// A line of the drawing.
struct Line {
    /// Branches, port and node.
    left: String,
    /// GUID, LID, state, width and speed.
    right: String,
}

/// A drawing under way.
struct Drawing<'a> {
    subnet: &'a Subnet,
    /// By node: `true` once its own line is drawn.
    drawn: Vec<bool>,
    lines: Vec<Line>,
}

impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subnet = self.0;
        let mut drawing = Drawing { subnet, drawn: vec![false; subnet.nodes.len()], lines: Vec::new() };
        let first = subnet.nodes.iter().position(Node::is_switch).unwrap_or(0);
        for root in iter::once(first).chain(0..subnet.nodes.len()) {
            if drawing.drawn.get(root) == Some(&false) {
                drawing.root(root);
            }
        }
        let width = drawing.lines.iter().map(|line| line.left.chars().count()).max().unwrap_or(0);
        for Line { left, right } in &drawing.lines {
            writeln!(f, "{}", format!("{left:<width$}  {right}").trim_end())?;
        }
        Ok(())
    }
}

impl Drawing<'_> {
    fn root(&mut self, root: usize) {
        self.drawn[root] = true;
        let node = &self.subnet.nodes[root];
        self.lines.push(Line { left: name(node), right: identity(node, node.ports.first()) });
        self.branches(root, None, "");
    }

    /// Draws the links of a node whose own line is drawn, except the one to `back`.
    fn branches(&mut self, at: usize, back: Option<&Port>, indent: &str) {
        let node = &self.subnet.nodes[at];
        // The first link to a node draws it; later ones refer to it, so that a loop ends.
        let below: Vec<_> = node
            .ports
            .iter()
            .filter(|port| port.is_linked() && back.is_none_or(|back| back.number != port.number))
            .map(|port| (port, port.peer.filter(|&(peer, _)| !std::mem::replace(&mut self.drawn[peer], true))))
            .collect();
        let down = node.ports.iter().skip(usize::from(node.is_switch())).filter(|port| !port.is_linked()).count();
        let lines = below.len() + usize::from(down > 0);
        for (index, (port, child)) in below.into_iter().enumerate() {
            let last = index + 1 == lines;
            let branch = if last { "└─" } else { "├─" };
            let left = format!("{indent}{branch} {:>3} ", port.number.get());
            let right = link(&port.info);
            let Some((peer, entry)) = port.peer else {
                self.lines.push(Line { left: left + "(no response)", right: format!("{:29}  {right}", "") });
                continue;
            };
            let reached = &self.subnet.nodes[peer];
            let entry = reached.ports.iter().find(|port| port.number == entry);
            let addressed = if reached.is_switch() { reached.ports.first() } else { entry };
            let right = format!("{}  {right}", identity(reached, addressed));
            if child.is_none() {
                let number = entry.map_or(0, |port| port.number.get());
                self.lines.push(Line { left: format!("{left}→ {}, port {number}", name(reached)), right });
                continue;
            }
            self.lines.push(Line { left: left + &name(reached), right });
            if reached.is_switch() {
                self.branches(peer, entry, &format!("{indent}{}", if last { "   " } else { "│  " }));
            }
        }
        if down > 0 {
            let ports = if down == 1 { "port" } else { "ports" };
            self.lines
                .push(Line { left: format!("{indent}└─ {down} {ports} without a link"), right: String::new() });
        }
    }
}

/// Returns the NodeDescription, without control characters: it comes from the wire and must not reach the terminal.
fn name(node: &Node) -> String {
    node.description.to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn identity(node: &Node, port: Option<&Port>) -> String {
    let guid = port.and_then(|port| port.guid).unwrap_or(node.info.node_guid);
    let lid = port.map_or(0, |port| port.info.lid.get());
    format!("{guid}  LID {lid:>5}")
}

fn link(port: &PortInfo) -> String {
    format!("{:<6}  {} {}", port.port_state().to_string(), width(port.link_width_active), speed(port))
}

fn width(width: LinkWidth) -> String {
    match width {
        LinkWidth::X1 => "1X".into(),
        LinkWidth::X2 => "2X".into(),
        LinkWidth::X4 => "4X".into(),
        LinkWidth::X8 => "8X".into(),
        LinkWidth::X12 => "12X".into(),
        other => format!("width {:#x}", other.bits()),
    }
}

fn speed(port: &PortInfo) -> String {
    match (port.link_speed_ext_active(), port.link_speed_active()) {
        (LinkSpeedExt::FDR, _) => "14.0625 Gb/s".into(),
        (LinkSpeedExt::EDR, _) => "25.78125 Gb/s".into(),
        (LinkSpeedExt::HDR, _) => "53.125 Gb/s".into(),
        (_, LinkSpeed::SDR) => "2.5 Gb/s".into(),
        (_, LinkSpeed::DDR) => "5.0 Gb/s".into(),
        (_, LinkSpeed::QDR) => "10.0 Gb/s".into(),
        (_, other) => format!("speed {:#x}", other.bits()),
    }
}

#[cfg(test)]
mod tests {
    use iba::attr::{NodeDescription, NodeInfo, NodeType, PortState};
    use iba::{Guid, Lid, PortNum};

    use super::*;

    /// Port number, LID, state, and the node and port at the other end of the link.
    type PortFacts = (u8, u16, PortState, Option<(usize, u8)>);

    fn node(kind: NodeType, name: &str, guid: u64, ports: &[PortFacts]) -> Node {
        let port = |&(number, lid, state, peer): &PortFacts| {
            let mut info = PortInfo::default();
            info.lid = Lid::new(lid);
            info.link_width_active = LinkWidth::X4;
            info.set_port_state(state);
            info.set_link_speed_active(LinkSpeed::QDR);
            let endport = kind != NodeType::SWITCH || number == 0;
            Port {
                number: PortNum::new(number),
                guid: endport.then(|| Guid::new(guid + u64::from(number))),
                info,
                peer: peer.map(|(node, port)| (node, PortNum::new(port))),
            }
        };
        let info = NodeInfo { node_type: kind, node_guid: Guid::new(guid), ..NodeInfo::default() };
        Node { info, description: NodeDescription::new(name), ports: ports.iter().map(port).collect() }
    }

    #[test]
    fn tree_of_a_loop_is_finite() {
        let (ca, switch) = (NodeType::CHANNEL_ADAPTER, NodeType::SWITCH);
        let (active, init, down) = (PortState::ACTIVE, PortState::INIT, PortState::DOWN);
        let nodes = vec![
            node(ca, "H1", 0x100, &[(1, 1, active, Some((1, 1)))]),
            node(
                switch,
                "S1",
                0x200,
                &[
                    (0, 2, active, None),
                    (1, 0, active, Some((0, 1))),
                    (2, 0, active, Some((2, 1))),
                    (3, 0, active, Some((2, 2))),
                    (4, 0, down, None),
                ],
            ),
            node(
                switch,
                "S2\x1b[2J",
                0x300,
                &[(0, 3, active, None), (1, 0, active, Some((1, 2))), (2, 0, active, Some((1, 3))), (3, 0, init, None)],
            ),
        ];
        let drawn = Tree(&Subnet { nodes }).to_string();
        let expected = "\
S1                        0x0000000000000200  LID     2
├─   1 H1                 0x0000000000000101  LID     1  Active  4X 10.0 Gb/s
├─   2 S2\u{fffd}[2J             0x0000000000000300  LID     3  Active  4X 10.0 Gb/s
│  ├─   2 → S1, port 3    0x0000000000000200  LID     2  Active  4X 10.0 Gb/s
│  └─   3 (no response)                                  Init    4X 10.0 Gb/s
├─   3 → S2\u{fffd}[2J, port 2   0x0000000000000300  LID     3  Active  4X 10.0 Gb/s
└─ 1 port without a link
";
        assert_eq!(drawn, expected);
    }
}
