//! Views of a fabric from outside.

use std::collections::{BTreeMap, BTreeSet};

use iba::attr::PortState;
use iba::lrh::Lrh;
use iba::{Guid, Lid, PortNum};
use subnet::{Node, Route};

use super::{At, Member, World};

impl World {
    /// The GUID of an adapter's port 1, or a switch's management port.
    pub(crate) fn guid_of(&self, member: usize) -> Guid {
        let node = self.node(member);
        let port = if matches!(node, Node::Switch(_)) { PortNum::MANAGEMENT } else { PortNum::new(1) };
        node.port_guid(port).unwrap()
    }

    /// Returns the number of copies that each adapter receives of a packet from `from` to a multicast LID.
    pub(crate) fn flood(&self, from: usize, lid: Lid) -> BTreeMap<usize, usize> {
        let mut lrh = Lrh::default();
        lrh.dlid = lid;
        let (mut got, mut next, mut steps) = (BTreeMap::new(), vec![self.wires[&(from, 1)]], 0);
        while let Some((member, port)) = next.pop() {
            steps += 1;
            assert!(steps < 10_000, "packets go round");
            match self.node(member) {
                Node::Switch(switch) => {
                    if let Route::Multicast(ports) = switch.route(PortNum::new(port), &lrh) {
                        next.extend(ports.map(|port| self.wires[&(member, port.get())]));
                    }
                }
                Node::ChannelAdapter(_) => *got.entry(member).or_default() += 1,
            }
        }
        got
    }

    pub(super) fn node(&self, member: usize) -> &Node {
        match &self.members[member] {
            Member::Node(node) => node,
            Member::Hsma(_) => panic!("no node"),
        }
    }

    /// All ports of nodes outside of hypervisors that packets end at and that can be reached from `from`, with their
    /// LIDs.
    pub(crate) fn ends(&self, from: usize) -> Vec<(At, Lid)> {
        let mut seen = BTreeSet::from([from]);
        let mut next = vec![from];
        while let Some(member) = next.pop() {
            let forwards = matches!(&self.members[member], Member::Node(Node::Switch(_))) || member == from;
            for (&(_, port), &(to, _)) in self.wires.range((member, 0)..(member + 1, 0)) {
                if forwards && !self.mute.contains(&to) && !self.pulled.contains(&(member, port)) && seen.insert(to) {
                    next.push(to);
                }
            }
        }
        let mut ends = Vec::new();
        for member in seen {
            if let Member::Node(node) = &self.members[member] {
                let ports = match node {
                    Node::Switch(_) => 0..=0,
                    Node::ChannelAdapter(_) => 1..=node.node_info().num_ports,
                };
                for port in ports {
                    let info = node.port_info(PortNum::new(port)).unwrap();
                    if info.port_state() != PortState::DOWN {
                        ends.push(((member, port), info.lid));
                    }
                }
            }
        }
        ends
    }

    /// Returns the number of hops from port `from` to `lid` over Active links; `None` if the packet does not
    /// get to `to`.
    pub(crate) fn walk(&self, from: At, lid: Lid, to: At) -> Option<usize> {
        let mut lrh = Lrh::default();
        lrh.dlid = lid;
        let (mut at, mut hops) = (from, 0);
        let mut entered = PortNum::new(if from.1 == 0 { 0 } else { 255 });
        loop {
            let out = match self.node(at.0) {
                Node::Switch(switch) => match switch.route(entered, &lrh) {
                    Route::Management => return ((at.0, 0) == to).then_some(hops),
                    Route::Port(port) => port,
                    _ => return None,
                },
                _ if (at.0, entered.get()) == to || (hops == 0 && from == to) => return Some(hops),
                _ if hops == 0 => PortNum::new(from.1),
                Node::ChannelAdapter(_) => return None,
            };
            if self.node(at.0).port_info(out)?.port_state() != PortState::ACTIVE || hops > 64 {
                return None;
            }
            at = *self.wires.get(&(at.0, out.get()))?;
            entered = PortNum::new(at.1);
            hops += 1;
        }
    }

    /// Returns MasterSMLID of an adapter's port 1.
    pub(crate) fn master_of(&self, member: usize) -> Lid {
        self.node(member).port_info(PortNum::new(1)).unwrap().master_sm_lid
    }

    /// The port by which a switch sends packets to `lid`.
    pub(crate) fn next_hop(&self, switch: usize, lid: Lid) -> PortNum {
        let mut lrh = Lrh::default();
        lrh.dlid = lid;
        match self.node(switch) {
            Node::Switch(switch) => match switch.route(PortNum::MANAGEMENT, &lrh) {
                Route::Port(port) => port,
                route => panic!("{route:?}"),
            },
            Node::ChannelAdapter(_) => panic!("no switch"),
        }
    }

    /// Checks that all that can be reached from `from` has a LID of its own, and reaches each other.
    pub(crate) fn check(&self, from: usize) -> Vec<(At, Lid)> {
        let ends = self.ends(from);
        let lids: BTreeSet<Lid> = ends.iter().map(|(_, lid)| *lid).collect();
        assert_eq!(lids.len(), ends.len(), "a LID for each: {ends:?}");
        assert!(lids.iter().all(|lid| lid.is_unicast()), "{ends:?}");
        for &(one, _) in &ends {
            for &(other, lid) in &ends {
                assert!(self.walk(one, lid, other).is_some(), "from {one:?} to {other:?}, LID {lid}");
            }
        }
        ends
    }
}
