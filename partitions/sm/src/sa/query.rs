//! Records that a request names.

use iba::attr::{CapabilityMask, LinearForwardingBlock};
use iba::mad::Status;
use iba::sa::{
    GuidInfoRecord, LinearForwardingRecord, LinkRecord, MulticastForwardingRecord, NodeRecord, PKeyTableRecord,
    PathRecord, PortInfoRecord, Record, SaMad, SmInfoRecord, SwitchInfoRecord,
};
use iba::{Lid, PortNum};

use super::groups::Groups;
use super::path::paths;
use super::records::{Knowledge, Records};
use crate::multicast::blocks;
use crate::topology::{End, Node, Topology};

/// PortInfoRecord's attribute modifier: of the capability mask the bits of the request are to be there, and others may
/// be.
const SOME_CAPABILITIES: u32 = 1 << 31;

/// All records that `request` names.
///
/// # Errors
/// The status of the answer where there are none of this kind, or too many.
pub(crate) fn records(request: &SaMad, known: Knowledge<'_>, groups: &Groups) -> Result<Records, Status> {
    let topology = known.topology;
    match request.header.attribute_id {
        NodeRecord::ID => matching(request, node_records(topology)),
        PortInfoRecord::ID => port_infos(request, topology),
        SwitchInfoRecord::ID => matching(request, switch_infos(topology)),
        LinearForwardingRecord::ID => matching(request, linear_tables(topology)),
        MulticastForwardingRecord::ID => matching(request, multicast_tables(topology, groups)),
        GuidInfoRecord::ID => matching(request, guids(topology)),
        // They are for managers alone (15.4.1.2).
        PKeyTableRecord::ID if request.sm_key != known.own.sm_key => Err(Status::SA_DENIED),
        PKeyTableRecord::ID => matching(request, p_keys(topology)),
        LinkRecord::ID => matching(request, links(topology)),
        SmInfoRecord::ID => matching(request, managers(known)),
        PathRecord::ID => paths(request, topology),
        _ => Err(Status::BAD_METHOD_ATTRIBUTE),
    }
}

/// Those of `all` that have the components that the request names.
fn matching<R: Record>(request: &SaMad, all: impl Iterator<Item = R>) -> Result<Records, Status> {
    let (wanted, mask): (&R, u64) = (request.record(), request.component_mask.get());
    let mut records = Records::default();
    all.filter(|record| record.matches(wanted, mask)).try_for_each(|record| records.push(&record))?;
    Ok(records)
}

/// The LID of the port of `end`'s node that packets to `end` go to: of a switch the management port's.
pub(super) fn lid(topology: &Topology, end: End) -> Lid {
    let is_switch = topology.nodes.get(end.node).is_some_and(Node::is_switch);
    let port = if is_switch { PortNum::MANAGEMENT } else { end.port };
    topology.port(End { port, ..end }).map_or(Lid::UNASSIGNED, |port| port.info.lid)
}

fn node_records(topology: &Topology) -> impl Iterator<Item = NodeRecord> {
    topology.ends().map(|(end, port)| {
        let node = &topology.nodes[end.node];
        let mut record = NodeRecord::default();
        (record.lid, record.info, record.description) = (port.info.lid, node.info, node.description);
        record.info.port_guid = port.guid;
        if !node.is_switch() {
            record.info.local_port = end.port;
        }
        record
    })
}

fn port_infos(request: &SaMad, topology: &Topology) -> Result<Records, Status> {
    let (wanted, mut mask): (&PortInfoRecord, u64) = (request.record(), request.component_mask.get());
    let mut needed = CapabilityMask::empty();
    if request.has(PortInfoRecord::CAPABILITY_MASK) && request.header.attribute_modifier.get() & SOME_CAPABILITIES != 0
    {
        mask &= !(1 << PortInfoRecord::CAPABILITY_MASK);
        needed = wanted.info.capability_mask();
    }
    let mut records = Records::default();
    for (end, port) in topology.ports() {
        let mut record = PortInfoRecord::default();
        (record.lid, record.port, record.info) = (lid(topology, end), end.port, port.info);
        record.info.m_key = 0.into(); // no client sees it (15.2.4.2)
        if record.info.capability_mask().contains(needed) && record.matches(wanted, mask) {
            records.push(&record)?;
        }
    }
    Ok(records)
}

fn switch_infos(topology: &Topology) -> impl Iterator<Item = SwitchInfoRecord> {
    topology.nodes.iter().enumerate().filter_map(|(node, it)| {
        let mut record = SwitchInfoRecord::default();
        (record.info, record.lid) = (it.switch?, lid(topology, End { node, port: PortNum::MANAGEMENT }));
        Some(record)
    })
}

fn linear_tables(topology: &Topology) -> impl Iterator<Item = LinearForwardingRecord> {
    topology.nodes.iter().enumerate().flat_map(move |(node, it)| {
        let lid = lid(topology, End { node, port: PortNum::MANAGEMENT });
        let blocks = it.table.as_chunks::<{ LinearForwardingBlock::LIDS }>().0;
        (0_u16..).zip(blocks).map(move |(block, ports)| {
            let mut record = LinearForwardingRecord::default();
            (record.lid, record.block, record.table.ports) = (lid, block.into(), *ports);
            record
        })
    })
}

fn multicast_tables(topology: &Topology, groups: &Groups) -> impl Iterator<Item = MulticastForwardingRecord> {
    blocks(topology, groups).into_iter().flat_map(move |(node, blocks)| {
        let lid = lid(topology, End { node, port: PortNum::MANAGEMENT });
        blocks.into_iter().map(move |(modifier, table)| {
            let mut record = MulticastForwardingRecord::default();
            (record.lid, record.table) = (lid, table);
            record.set_position(u8::try_from(modifier >> 28).unwrap_or(0)); // four bits
            record.set_block(u16::try_from(modifier & 0x1ff).unwrap_or(0)); // nine bits
            record
        })
    })
}

/// The first block of each port: no more GUIDs are set than the port's own.
fn guids(topology: &Topology) -> impl Iterator<Item = GuidInfoRecord> {
    topology.ends().map(|(_, port)| {
        let mut record = GuidInfoRecord::default();
        (record.lid, record.info.guids[0]) = (port.info.lid, port.guid);
        record
    })
}

/// The first block of each port that packets end at: no more are set.
fn p_keys(topology: &Topology) -> impl Iterator<Item = PKeyTableRecord> {
    topology.ends().filter_map(|(end, port)| {
        let mut record = PKeyTableRecord::default();
        (record.lid, record.port, record.table) = (port.info.lid, end.port, port.p_keys?);
        Some(record)
    })
}

fn links(topology: &Topology) -> impl Iterator<Item = LinkRecord> {
    topology.ports().filter_map(|(from, _)| {
        let (to, _) = topology.peer(from)?;
        let mut record = LinkRecord::default();
        (record.from_lid, record.from_port) = (lid(topology, from), from.port);
        (record.to_lid, record.to_port) = (lid(topology, to), to.port);
        Some(record)
    })
}

fn managers(known: Knowledge<'_>) -> impl Iterator<Item = SmInfoRecord> {
    let own = known.topology.own().map(|(end, _)| (end, *known.own));
    own.into_iter().chain(known.topology.managers.iter().copied()).map(move |(end, info)| {
        let mut record = SmInfoRecord::default();
        (record.lid, record.info) = (lid(known.topology, end), info);
        record.info.sm_key = 0.into(); // no client sees it (14.4.7)
        record
    })
}
