//! Settings of ports (IBA vol. 1, 14.2.5.6).

use iba::attr::{CapabilityMask, Mtu, PKeyTable, PortInfo, PortPhysicalState, PortState, VlCap};
use iba::mad::{Attribute, Method};
use iba::smp::Smp;
use iba::{GidPrefix, Lid, MKey, PKey, Sl};

use crate::topology::{End, Port, Topology};

/// PortInfo's SubnetTimeOut: traps are at least 4.096 us x 2^18, about a second, apart, and a packet takes no longer to
/// cross the subnet.
pub(crate) const SUBNET_TIMEOUT: u8 = 18;

/// Lifetime of a packet at the head of a switch's queue, and in a switch: 4.096 us x 2^18.
pub(crate) const LIFE_TIME: u8 = 18;

/// As many packets in a row that a lane drops stall it.
const VL_STALL_COUNT: u8 = 7;

/// Facts of the manager for the ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Master {
    /// Its LID.
    pub(crate) lid: Lid,
    /// `true` if clients must register again, because the manager is new.
    pub(crate) is_new: bool,
}

/// Returns the request that configures the port at `end`: with `lid` where packets end
/// at it, and Armed where it waits in Init. `None` where nothing changes.
pub(crate) fn configure(topology: &Topology, end: End, lid: Option<Lid>, master: Master) -> Option<Smp> {
    let port = topology.port(end)?;
    let mut info = unchanged(&port.info);
    if topology.nodes[end.node].is_end(end.port) {
        // A port that was down, or could not be reached, was let go from its groups.
        let is_new = master.is_new || port.is_new || port.info.port_state() == PortState::INIT;
        set_end(&mut info, lid?, Master { is_new, ..master });
    }
    if port.info.port_state() == PortState::INIT
        && let Some((_, peer)) = topology.peer(end)
    {
        set_link(&mut info, &peer.info);
    }
    (info != unchanged(&port.info)).then(|| request(end, port, &info))
}

/// Returns the request that takes the port at `end` from Armed to Active, where that is needed.
pub(crate) fn activate(topology: &Topology, end: End) -> Option<Smp> {
    let port = topology.port(end)?;
    let (_, peer) = topology.peer(end)?;
    let is_ready = |state| matches!(state, PortState::ARMED | PortState::ACTIVE);
    if port.info.port_state() != PortState::ARMED || !is_ready(peer.info.port_state()) {
        return None;
    }
    let mut info = unchanged(&port.info);
    info.set_port_state(PortState::ACTIVE);
    Some(request(end, port, &info))
}

/// The request that makes the port at `end` a full member of the default partition, where it is not.
pub(crate) fn admit(topology: &Topology, end: End) -> Option<Smp> {
    let port = topology.port(end)?;
    let mut table = port.p_keys?;
    if table.p_keys.contains(&PKey::DEFAULT) {
        return None;
    }
    // In the place of the limited membership, or in a free one.
    let place = |is_fit: fn(&PKey) -> bool| table.p_keys.iter().position(is_fit);
    let place = place(|key| key.base() == PKey::DEFAULT.base()).or_else(|| place(|key| key.is_invalid()));
    table.p_keys[place.unwrap_or(0)] = PKey::DEFAULT;
    let mut smp = port.route.request(Method::SET, PKeyTable::ID, 0);
    smp.set_attribute(&table);
    Some(smp)
}

/// PortInfo as a Set has it that changes nothing.
fn unchanged(info: &PortInfo) -> PortInfo {
    let mut info = *info;
    info.set_port_state(PortState::NO_CHANGE);
    info.set_physical_state(PortPhysicalState::NO_CHANGE);
    info.set_link_down_default_state(PortPhysicalState::NO_CHANGE);
    info.set_client_reregister(false);
    info
}

fn set_end(info: &mut PortInfo, lid: Lid, master: Master) {
    (info.m_key, info.m_key_lease_period) = (MKey::default(), 0.into());
    info.set_m_key_protect_bits(0);
    info.gid_prefix = GidPrefix::DEFAULT;
    info.lid = lid;
    info.set_lmc(0);
    info.master_sm_lid = master.lid;
    info.set_master_sm_sl(Sl::default());
    info.set_subnet_timeout(SUBNET_TIMEOUT);
    info.set_client_reregister(master.is_new && info.capability_mask().contains(CapabilityMask::CLIENT_REREGISTRATION));
}

/// As large packets and as many lanes as both ends of the link know.
fn set_link(info: &mut PortInfo, peer: &PortInfo) {
    let mtu = info.mtu_cap().min(peer.mtu_cap()).max(Mtu::B256);
    let vls = info.vl_cap().min(peer.vl_cap()).max(VlCap::VL0);
    info.set_neighbor_mtu(mtu);
    info.set_operational_vls(vls);
    info.set_hoq_life(LIFE_TIME);
    info.set_vl_stall_count(VL_STALL_COUNT);
    // The default partition is the only one, so there is nothing to enforce.
    info.set_partition_enforcement_inbound(false);
    info.set_partition_enforcement_outbound(false);
    info.set_port_state(PortState::ARMED);
}

fn request(end: End, port: &Port, info: &PortInfo) -> Smp {
    let mut smp = port.route.request(Method::SET, PortInfo::ID, u32::from(end.port.get()));
    smp.set_attribute(info);
    smp
}
