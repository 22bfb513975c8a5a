//! Set(PortInfo): what may be set, on which kind of port, and what comes of it (14.2.5.6).

use iba::attr::{LinkSpeedExt, Mtu, PortInfo, PortPhysicalState, PortState, VlCap};

use crate::outlet::LinkRequest;
use crate::port::PortRole;

/// Effect of a valid Set(PortInfo) on a port.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// The port as it shall be, its link's fall apart.
    pub(crate) next: PortInfo,
    /// Link request, carried out once the response has left.
    pub(crate) link: Option<LinkRequest>,
}

/// A field or a modifier that has no valid value, or none that can be set now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidField;

/// LinkSpeedExtEnabled that switches all extended speeds off, and that switches all supported ones on.
const NO_EXTENDED_SPEEDS: u8 = 30;
const ALL_EXTENDED_SPEEDS: u8 = 31;

/// Facts of the node on which a Set depends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) role: PortRole,
    /// `true` if the requester knows extended speeds, bit 31 of the attribute modifier; else their field is not valid.
    pub(crate) extended_speeds: bool,
    /// `true` if the port can enforce partitions.
    pub(crate) enforces: bool,
}

/// Checks a Set whole, and says what it makes of a port that is as `now`.
///
/// Fields that a port of this role does not have, and those that can only be read, are not looked at.
pub(crate) fn check(now: &PortInfo, set: &PortInfo, context: Context) -> Result<Change, InvalidField> {
    let mut next = *now;
    if context.role != PortRole::External {
        set_end(&mut next, set, context.role)?;
    }
    let mut link = None;
    if context.role != PortRole::Management {
        set_link(&mut next, set, context)?;
        link = set_states(&mut next, set)?;
    }
    if context.role == PortRole::External {
        next.set_vl_stall_count(set.vl_stall_count());
        next.set_hoq_life(set.hoq_life());
        if context.enforces {
            next.set_partition_enforcement_inbound(set.partition_enforcement_inbound());
            next.set_partition_enforcement_outbound(set.partition_enforcement_outbound());
        }
    }
    // Counters of violations are reset only by writing 0.
    if set.p_key_violations.get() == 0 {
        next.p_key_violations = 0.into();
    }
    Ok(Change { next, link })
}

/// Fields of a port at which packets end.
fn set_end(next: &mut PortInfo, set: &PortInfo, role: PortRole) -> Result<(), InvalidField> {
    let lmc = set.lmc();
    let span = (1u16 << lmc) - 1;
    // If the first of its LIDs is unicast, all are: unicast LIDs end where a block of 2^7 does.
    valid(set.lid.is_unicast() && set.lid.get() & span == 0)?;
    valid(role == PortRole::Adapter || lmc == 0)?; // a base management port has one LID
    valid(set.master_sm_lid.is_unicast())?;
    next.lid = set.lid;
    next.set_lmc(lmc);
    next.master_sm_lid = set.master_sm_lid;
    next.set_master_sm_sl(set.master_sm_sl());
    next.m_key = set.m_key;
    next.set_m_key_protect_bits(set.m_key_protect_bits());
    next.m_key_lease_period = set.m_key_lease_period;
    next.gid_prefix = set.gid_prefix;
    next.set_subnet_timeout(set.subnet_timeout());
    if set.m_key_violations.get() == 0 {
        next.m_key_violations = 0.into();
    }
    if set.q_key_violations.get() == 0 {
        next.q_key_violations = 0.into();
    }
    Ok(())
}

/// Fields of a port with a link.
fn set_link(next: &mut PortInfo, set: &PortInfo, context: Context) -> Result<(), InvalidField> {
    match set.link_width_enabled {
        width if width.is_empty() => {}
        width if width.bits() == 0xff => next.link_width_enabled = next.link_width_supported,
        width => {
            valid(next.link_width_supported.contains(width))?;
            next.link_width_enabled = width;
        }
    }
    match set.link_speed_enabled() {
        speed if speed.is_empty() => {}
        speed if speed.bits() == 0xf => next.set_link_speed_enabled(next.link_speed_supported()),
        speed => {
            valid(next.link_speed_supported().contains(speed))?;
            next.set_link_speed_enabled(speed);
        }
    }
    if context.extended_speeds {
        match set.link_speed_ext_enabled() {
            speed if speed.is_empty() => {}
            speed if speed.bits() == NO_EXTENDED_SPEEDS => next.set_link_speed_ext_enabled(LinkSpeedExt::empty()),
            speed if speed.bits() == ALL_EXTENDED_SPEEDS => {
                next.set_link_speed_ext_enabled(next.link_speed_ext_supported());
            }
            speed => {
                valid(next.link_speed_ext_supported().contains(speed))?;
                next.set_link_speed_ext_enabled(speed);
            }
        }
    }
    valid((Mtu::B256..=next.mtu_cap()).contains(&set.neighbor_mtu()))?;
    next.set_neighbor_mtu(set.neighbor_mtu());
    if set.operational_vls() != VlCap::default() {
        valid(set.operational_vls() <= next.vl_cap())?;
        next.set_operational_vls(set.operational_vls());
    }
    next.vl_high_limit = set.vl_high_limit;
    next.set_local_physical_errors(set.local_physical_errors());
    next.set_overrun_errors(set.overrun_errors());
    match set.link_down_default_state() {
        PortPhysicalState::NO_CHANGE => {}
        state @ (PortPhysicalState::SLEEP | PortPhysicalState::POLLING) => next.set_link_down_default_state(state),
        _ => return Err(InvalidField),
    }
    Ok(())
}

/// PortState and PortPhysicalState: the second is set only together with NoChange or Down.
fn set_states(next: &mut PortInfo, set: &PortInfo) -> Result<Option<LinkRequest>, InvalidField> {
    let is_off = next.physical_state() == PortPhysicalState::DISABLED;
    match (set.port_state(), set.physical_state()) {
        (PortState::NO_CHANGE, PortPhysicalState::NO_CHANGE) => Ok(None),
        (PortState::ARMED, PortPhysicalState::NO_CHANGE) if next.port_state() == PortState::INIT => {
            next.set_port_state(PortState::ARMED);
            Ok(None)
        }
        (PortState::ACTIVE, PortPhysicalState::NO_CHANGE) if next.port_state() == PortState::ARMED => {
            next.set_port_state(PortState::ACTIVE);
            Ok(None)
        }
        // Down alone leaves a port that is off as it is.
        (PortState::DOWN, PortPhysicalState::NO_CHANGE) if is_off => Ok(None),
        (PortState::DOWN, PortPhysicalState::NO_CHANGE) => Ok(Some(LinkRequest::Retrain)),
        // A port that sleeps is woken by its neighbour, which polls: that is to train anew as well.
        (PortState::NO_CHANGE | PortState::DOWN, PortPhysicalState::SLEEP | PortPhysicalState::POLLING) => {
            Ok(Some(if is_off { LinkRequest::Enable } else { LinkRequest::Retrain }))
        }
        (PortState::NO_CHANGE | PortState::DOWN, PortPhysicalState::DISABLED) => Ok(Some(LinkRequest::Disable)),
        _ => Err(InvalidField),
    }
}

fn valid(condition: bool) -> Result<(), InvalidField> {
    if condition { Ok(()) } else { Err(InvalidField) }
}
