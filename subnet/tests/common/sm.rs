//! A small subnet manager: it finds what there is by directed routes, gives LIDs and tables, and brings links up, in
//! the order in which OpenSM does.

use std::collections::BTreeMap;

use iba::attr::{LinearForwardingBlock, NodeInfo, NodeType, PortInfo, PortPhysicalState, PortState, SwitchInfo};
use iba::mad::{Attribute, AttributeId, Method, Status};
use iba::smp::Smp;
use iba::{Guid, Lid, MKey, PortNum, TransactionId};

use super::{Fabric, bytes, directed, smp};

/// An end of a link, or a switch's management port.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) path: Vec<u8>,
    pub(crate) info: NodeInfo,
    pub(crate) port: u8,
    pub(crate) lid: u16,
}

/// The manager, at the fabric's host.
#[derive(Default)]
pub(crate) struct Sm {
    pub(crate) m_key: MKey,
    pub(crate) lmc: u8,
    pub(crate) transaction: u64,
    pub(crate) asked: usize,
    /// By the GUIDs of ports.
    pub(crate) ends: BTreeMap<Guid, End>,
    pub(crate) lids: BTreeMap<Guid, u16>,
}

impl Sm {
    /// Asks, and returns the answer, of whatever status.
    pub(crate) fn try_ask<A: Attribute>(
        &mut self,
        fabric: &mut Fabric,
        path: &[u8],
        method: Method,
        modifier: u32,
        data: Option<&A>,
    ) -> Option<Smp> {
        let mut packet = directed(method, A::ID, modifier, path);
        self.transaction += 1;
        self.asked += 1;
        packet.smp.header.transaction_id = TransactionId::new(self.transaction);
        packet.smp.m_key = self.m_key;
        if let Some(data) = data {
            packet.smp.set_attribute(data);
        }
        fabric.at_host.clear();
        fabric.send(&bytes(&packet));
        let answer =
            fabric.at_host.iter().map(|packet| smp(packet)).find(|smp| {
                smp.header.method == Method::GET_RESP && smp.header.transaction_id.get() == self.transaction
            })?;
        assert_eq!(answer.header.attribute_id, A::ID);
        assert_eq!(answer.header.attribute_modifier.get(), modifier);
        assert!(answer.is_returning());
        Some(answer)
    }

    /// Reads an attribute.
    pub(crate) fn get<A: Attribute + Copy>(&mut self, fabric: &mut Fabric, path: &[u8], modifier: u32) -> A {
        let answer = self.try_ask::<A>(fabric, path, Method::GET, modifier, None);
        let answer = answer.unwrap_or_else(|| panic!("no answer to Get({:?}, {modifier:#x}) at {path:?}", A::ID));
        assert_eq!(answer.status(), Status::OK, "Get({:?}, {modifier:#x}) at {path:?}", A::ID);
        *answer.attribute()
    }

    /// Changes an attribute.
    pub(crate) fn set<A: Attribute + Copy>(&mut self, fabric: &mut Fabric, path: &[u8], modifier: u32, to: &A) -> A {
        let answer = self.try_ask(fabric, path, Method::SET, modifier, Some(to));
        let answer = answer.unwrap_or_else(|| panic!("no answer to Set({:?}, {modifier:#x}) at {path:?}", A::ID));
        assert_eq!(answer.status(), Status::OK, "Set({:?}, {modifier:#x}) at {path:?}", A::ID);
        *answer.attribute()
    }

    /// PortInfo as a manager sends it back: changed by `change`, and with no change of states.
    pub(crate) fn set_port(
        &mut self,
        fabric: &mut Fabric,
        path: &[u8],
        port: u8,
        change: impl FnOnce(&mut PortInfo),
    ) -> PortInfo {
        let mut info: PortInfo = self.get(fabric, path, port.into());
        info.set_port_state(PortState::NO_CHANGE);
        info.set_physical_state(PortPhysicalState::NO_CHANGE);
        change(&mut info);
        self.set(fabric, path, port.into(), &info)
    }

    /// Finds all that can be reached.
    pub(crate) fn discover(&mut self, fabric: &mut Fabric) {
        self.ends.clear();
        let mut paths = vec![vec![]];
        while let Some(path) = paths.pop() {
            let info: NodeInfo = self.get(fabric, &path, 0);
            let is_switch = info.node_type == NodeType::SWITCH;
            let port = if is_switch { 0 } else { info.local_port.get() };
            let known = self.ends.insert(info.port_guid, End { path: path.clone(), info, port, lid: 0 });
            if known.is_some() {
                continue;
            }
            let ways = if is_switch { 1..=info.num_ports } else { port..=port };
            for way in ways {
                let found: PortInfo = self.get(fabric, &path, way.into());
                let back = is_switch && way == info.local_port.get();
                let at_sm = path.is_empty();
                if found.port_state() != PortState::DOWN && !back && (is_switch || at_sm) {
                    paths.push([&path[..], &[way]].concat());
                }
            }
        }
    }

    /// Brings the subnet up: LIDs, forwarding tables, Armed, Active.
    pub(crate) fn sweep(&mut self, fabric: &mut Fabric) {
        self.discover(fabric);
        let step = 1u16 << self.lmc;
        let mut next = step.max(1 + self.lids.values().copied().max().map_or(0, |lid| lid + step - 1));
        for (guid, end) in &mut self.ends {
            end.lid = *self.lids.entry(*guid).or_insert_with(|| {
                next += step;
                next - step
            });
        }
        let ends: Vec<End> = self.ends.values().cloned().collect();
        let master = ends.iter().find(|end| end.path.is_empty()).expect("the manager itself").lid;
        for end in &ends {
            let lmc = if end.port == 0 { 0 } else { self.lmc };
            self.set_port(fabric, &end.path, end.port, |info| {
                info.lid = Lid::new(end.lid);
                info.set_lmc(lmc);
                info.master_sm_lid = Lid::new(master);
                info.set_subnet_timeout(18);
                info.set_client_reregister(true);
            });
        }
        for switch in ends.iter().filter(|end| end.port == 0) {
            self.fill_tables(fabric, switch, &ends);
        }
        for state in [PortState::ARMED, PortState::ACTIVE] {
            for end in &ends {
                let ports = if end.port == 0 { 1..=end.info.num_ports } else { end.port..=end.port };
                for port in ports {
                    let info: PortInfo = self.get(fabric, &end.path, port.into());
                    let before = PortState::new(state.get() - 1);
                    if info.port_state() == before {
                        self.set_port(fabric, &end.path, port, |info| info.set_port_state(state));
                    }
                }
            }
        }
        for switch in ends.iter().filter(|end| end.port == 0) {
            let mut info: SwitchInfo = self.get(fabric, &switch.path, 0);
            info.set_port_state_change(true);
            let info = self.set(fabric, &switch.path, 0, &info);
            assert!(!info.port_state_change());
        }
    }

    /// Tells the only switch where each LID is: the way there is the path's next hop.
    fn fill_tables(&mut self, fabric: &mut Fabric, switch: &End, ends: &[End]) {
        let mut info: SwitchInfo = self.get(fabric, &switch.path, 0);
        let mut ports = vec![PortNum::DISCARD; 0xc000];
        let mut top = 0;
        for end in ends {
            let way = end.path.get(switch.path.len()).copied();
            let way = way.unwrap_or(if end.path.len() < switch.path.len() { 1 } else { 0 });
            let lids = if end.port == 0 { 1 } else { 1 << self.lmc };
            for lid in end.lid..end.lid + lids {
                ports[usize::from(lid)] = PortNum::new(way);
                top = top.max(lid);
            }
        }
        info.linear_fdb_top = Lid::new(top);
        info.set_port_state_change(false);
        self.set(fabric, &switch.path, 0, &info);
        for block in 0..=u32::from(top) / 64 {
            let first = block as usize * 64;
            let mut table = LinearForwardingBlock::default();
            table.ports.copy_from_slice(&ports[first..first + 64]);
            assert_eq!(self.set(fabric, &switch.path, block, &table), table);
        }
    }

    /// The LID of the port with this GUID.
    pub(crate) fn lid(&self, guid: Guid) -> u16 {
        self.ends[&guid].lid
    }

    /// Sends a request without a response: the repress of a trap.
    pub(crate) fn repress(&mut self, fabric: &mut Fabric, path: &[u8], trap: &Smp) {
        let mut packet = directed(Method::TRAP_REPRESS, AttributeId::NOTICE, 0, path);
        packet.smp.header.transaction_id = trap.header.transaction_id;
        packet.smp.m_key = self.m_key;
        packet.smp.data = trap.data;
        fabric.at_host.clear();
        fabric.send(&bytes(&packet));
        assert!(fabric.at_host.is_empty(), "a repress was answered");
    }
}
