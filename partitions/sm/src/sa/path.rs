//! Paths (IBA vol. 1, 15.2.5.16).

use alloc::vec::Vec;

use iba::attr::Mtu;
use iba::mad::Status;
use iba::sa::{PathRecord, SaMad, Selector};
use iba::{Gid, GidPrefix, Lid, PKey, PortNum, Sl};

use super::bound::Bound;
use super::rate::Rate;
use super::records::Records;
use crate::ports::SUBNET_TIMEOUT;
use crate::topology::{End, Port, Topology};

/// More hops than any path of ours has.
const MAX_HOPS: usize = 64;

/// All paths that `request` names: one for each pair of ports.
///
/// # Errors
/// They are too many for a table.
pub(super) fn paths(request: &SaMad, topology: &Topology) -> Result<Records, Status> {
    let wanted: &PathRecord = request.record();
    let mut records = Records::default();
    let is_none = request.has(PathRecord::P_KEY) && wanted.p_key.base() != PKey::DEFAULT.base()
        || request.has(PathRecord::SL) && wanted.sl() != Sl::default()
        || request.has(PathRecord::PATHS) && wanted.paths() == 0;
    if is_none {
        return Ok(records);
    }
    let ends = |by_gid, gid: Gid, by_lid, lid| {
        let by_gid = request.has(by_gid).then_some(gid);
        let by_lid = request.has(by_lid).then_some(lid);
        let ends = topology.ends().filter(|(_, port)| port.info.lid.is_unicast());
        let ends = ends.filter(|(_, port)| by_gid.is_none_or(|wanted| gid_of(port) == wanted));
        ends.filter(|(_, port)| by_lid.is_none_or(|wanted| port.info.lid == wanted)).collect::<Vec<_>>()
    };
    let sources = ends(PathRecord::SGID, wanted.sgid, PathRecord::SLID, wanted.slid);
    let destinations = ends(PathRecord::DGID, wanted.dgid, PathRecord::DLID, wanted.dlid);
    for source in &sources {
        for destination in &destinations {
            if let Some(path) = path(topology, *source, *destination).filter(|path| is_wanted(path, request)) {
                records.push(&path)?;
            }
        }
    }
    Ok(records)
}

/// The GID by which a port is known.
pub(super) fn gid_of(port: &Port) -> Gid {
    Gid { prefix: GidPrefix::DEFAULT, guid: port.guid }
}

/// Returns `true` if a path is within the bounds of the request.
fn is_wanted(path: &PathRecord, request: &SaMad) -> bool {
    let wanted: &PathRecord = request.record();
    let mtu = Bound::of_mtu(request, PathRecord::MTU_SELECTOR, wanted.mtu_selector(), wanted.mtu_code());
    let rate = Bound::of_rate(request, PathRecord::RATE_SELECTOR, wanted.rate_selector(), wanted.rate());
    mtu.allows_mtu(path.mtu_code()) && rate.allows_rate(path.rate())
}

/// The path from one port to another, if packets get there.
fn path(topology: &Topology, (from, source): (End, &Port), (to, destination): (End, &Port)) -> Option<PathRecord> {
    let (mtu, rate) = walk(topology, from, to, destination.info.lid)?;
    let mut path = PathRecord::default();
    (path.dgid, path.sgid) = (gid_of(destination), gid_of(source));
    (path.dlid, path.slid) = (destination.info.lid, source.info.lid);
    path.set_reversible(true);
    path.p_key = PKey::DEFAULT;
    path.set_mtu_selector(Selector::EXACTLY);
    path.set_mtu_code(mtu.get());
    path.set_rate_selector(Selector::EXACTLY);
    path.set_rate(rate.0);
    path.set_life_time_selector(Selector::EXACTLY);
    path.set_life_time(SUBNET_TIMEOUT);
    Some(path)
}

/// Follows the tables from port to port, and gives the least MTU and rate on the way.
fn walk(topology: &Topology, from: End, to: End, lid: Lid) -> Option<(Mtu, Rate)> {
    let mut at = from;
    let (mut mtu, mut rate) = (Mtu::B4096, None);
    for _ in 0..MAX_HOPS {
        let node = topology.nodes.get(at.node)?;
        if at == to {
            let info = &topology.port(to)?.info;
            return Some((mtu.min(info.mtu_cap().max(Mtu::B256)), rate.unwrap_or_else(|| Rate::of(info))));
        }
        let out = if node.is_switch() { *node.table.get(usize::from(lid.get()))? } else { at.port };
        let end = End { port: out, ..at };
        if out == PortNum::MANAGEMENT {
            at = end;
            continue;
        }
        let (peer, _) = topology.peer(end)?;
        if !node.is_switch() && at != from {
            return None; // adapters do not forward
        }
        let info = &topology.port(end)?.info;
        mtu = mtu.min(info.neighbor_mtu());
        rate = Some(rate.map_or(Rate::of(info), |rate: Rate| rate.min(Rate::of(info))));
        at = peer;
    }
    None
}
