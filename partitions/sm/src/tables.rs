//! Switches' forwarding tables as they were set, so that only what differs is set again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use iba::attr::{LinearForwardingBlock, MulticastForwardingBlock, SwitchInfo};
use iba::mad::{Attribute, Method};
use iba::smp::Smp;
use iba::{Guid, Lid, PortNum};

use crate::discover::{Question, Requests};
use crate::multicast::{Blocks, blocks};
use crate::ports::LIFE_TIME;
use crate::sa::Groups;
use crate::topology::{End, Node, Topology};

/// Contents of the switches' tables, by the switches' GUIDs.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    of: BTreeMap<Guid, Table>,
}

#[derive(Debug, Default)]
struct Table {
    top: Lid,
    blocks: Vec<Option<LinearForwardingBlock>>,
    multicast: Blocks,
}

impl Tables {
    /// Forgets all: another manager may have set what it liked.
    pub(crate) fn clear(&mut self) {
        self.of.clear();
    }

    /// Asks all switches for what their tables are to hold, as far as they do not. Gives the number of requests.
    pub(crate) fn ask(&mut self, topology: &Topology, requests: &mut Requests) -> usize {
        let mut asked = 0;
        for (number, node) in topology.nodes.iter().enumerate() {
            let (Some(info), false) = (node.switch, node.table.is_empty()) else { continue };
            let Some(port) = topology.port(End { node: number, port: PortNum::MANAGEMENT }) else { continue };
            let mut ask = |question, smp| {
                asked += 1;
                requests.ask(question, Lid::PERMISSIVE, smp);
            };
            let known = self.of.entry(node.info.node_guid).or_default();
            if known.top != info.linear_fdb_top {
                // The switch was restarted, or another SM was there.
                *known = Table { top: info.linear_fdb_top, ..Table::default() };
            }
            if let Some(wanted) = wanted(node, &info) {
                let mut smp = port.route.request(Method::SET, SwitchInfo::ID, 0);
                smp.set_attribute(&wanted);
                ask(Question::SetSwitch(number), smp);
            }
            for (block, ports) in node.table.as_chunks::<{ LinearForwardingBlock::LIDS }>().0.iter().enumerate() {
                let wanted = LinearForwardingBlock { ports: *ports };
                if known.blocks.get(block).copied().flatten() == Some(wanted) {
                    continue;
                }
                let modifier = u32::try_from(block).unwrap_or(u32::MAX); // there are 768 at most
                let mut smp = port.route.request(Method::SET, LinearForwardingBlock::ID, modifier);
                smp.set_attribute(&wanted);
                ask(Question::SetLinear(number, block), smp);
            }
        }
        asked
    }

    /// Asks all switches for what their multicast tables are to hold, as far as they do not. Gives the number of
    /// requests.
    pub(crate) fn ask_multicast(&mut self, topology: &Topology, groups: &Groups, requests: &mut Requests) -> usize {
        let mut asked = 0;
        for (number, wanted) in blocks(topology, groups) {
            let node = &topology.nodes[number];
            let known = &self.of.entry(node.info.node_guid).or_default().multicast;
            let Some(port) = node.ports.get(&PortNum::MANAGEMENT) else { continue };
            let empty = known.keys().map(|&modifier| (modifier, MulticastForwardingBlock::default()));
            let all: Blocks = empty.chain(wanted).collect();
            for (modifier, table) in all.into_iter().filter(|(modifier, table)| known.get(modifier) != Some(table)) {
                let mut smp = port.route.request(Method::SET, MulticastForwardingBlock::ID, modifier);
                smp.set_attribute(&table);
                requests.ask(Question::SetMulticast(number, modifier), Lid::PERMISSIVE, smp);
                asked += 1;
            }
        }
        asked
    }

    /// Notes that a switch has set a multicast block, or, with `None`, that it is not known whether it has.
    pub(crate) fn note_multicast(&mut self, switch: Guid, modifier: u32, answer: Option<&Smp>) {
        let known = &mut self.of.entry(switch).or_default().multicast;
        match answer {
            Some(smp) => _ = known.insert(modifier, *smp.attribute()),
            None => _ = known.remove(&modifier),
        }
    }

    /// Notes that a switch has set a block, or, with `None`, that it is not known whether it has.
    pub(crate) fn note_block(&mut self, switch: Guid, block: usize, answer: Option<&Smp>) {
        let blocks = &mut self.of.entry(switch).or_default().blocks;
        if blocks.len() <= block {
            blocks.resize(block + 1, None);
        }
        blocks[block] = answer.map(|smp| *smp.attribute());
    }

    /// Notes the last LID that a switch forwards.
    pub(crate) fn note_top(&mut self, switch: Guid, top: Lid) {
        self.of.entry(switch).or_default().top = top;
    }
}

/// Returns SwitchInfo with the wanted values, where it differs.
fn wanted(node: &Node, info: &SwitchInfo) -> Option<SwitchInfo> {
    let top = node.table.iter().rposition(|&port| port != PortNum::DISCARD).unwrap_or(0);
    let mut wanted = *info;
    wanted.linear_fdb_top = Lid::new(u16::try_from(top).unwrap_or(0));
    wanted.set_life_time_value(LIFE_TIME);
    wanted.set_port_state_change(false);
    let mut now = *info;
    now.set_port_state_change(false);
    (wanted != now).then_some(wanted)
}
