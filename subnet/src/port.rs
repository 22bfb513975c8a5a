//! A port: its attributes in wire form, its tables, and its state machine (7.2.7).

use alloc::boxed::Box;
use alloc::vec;

use iba::attr::{GuidInfo, LinkWidth, PKeyTable, PortInfo, PortPhysicalState, PortState, SlToVlMapping, VlArbitration};
use iba::bth::Bth;
use iba::grh::Grh;
use iba::lrh::{Lrh, NextHeader};
use iba::{GidPrefix, Guid, Lid, PKey, PortNum, Sl, Vl};

use zerocopy::FromBytes;

use crate::config::{NodeConfig, blocks};
use crate::counters::Counters;
use crate::outlet::{Event, Link};
use crate::time::Time;
use crate::trap::TrapQueue;

/// One port of a node.
///
/// Attributes are kept as they are on the wire, so that answering a Get is one copy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Port {
    pub(crate) info: PortInfo,
    /// The port's own; 0 where packets do not end at it.
    pub(crate) guid: Guid,
    /// When the M_Key's protection ends, while its lease runs out (14.2.4.2).
    pub(crate) lease: Time,
    pub(crate) counters: Counters,
    pub(crate) p_keys: Box<[PKeyTable]>,
    /// Lanes of packets that leave here, for each port that they may have entered by; an adapter has one entry.
    pub(crate) sl_to_vl: Box<[SlToVlMapping]>,
    /// Low priority's table, then high priority's.
    pub(crate) vl_arbitration: [VlArbitration; 2],
    /// State of a port at which packets end.
    pub(crate) end: Option<Box<EndPort>>,
}

/// State of a port at which packets end: an adapter's, or a switch's management port.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EndPort {
    pub(crate) guids: GuidInfo,
    pub(crate) traps: TrapQueue,
    events: u8,
}

/// Kind of a port, on which the meaning of its PortInfo depends (14.2.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortRole {
    /// An adapter's.
    Adapter,
    /// A switch's management port.
    Management,
    /// A switch's others.
    External,
}

/// Entries that each VL arbitration table has: one for each data lane there can be, and one to spare.
const ARBITRATION_CAP: u8 = 16;

impl Port {
    /// A port of a node, Down. Packets that leave by it come in by one of `inputs` ports.
    pub(crate) fn new(config: &NodeConfig, role: PortRole, number: PortNum, guid: Guid, inputs: usize) -> Self {
        let partitions = if role == PortRole::External { config.partitions } else { config.end_partitions() };
        let mut p_keys = vec![PKeyTable::default(); blocks(partitions).into()].into_boxed_slice();
        if let Some(first) = p_keys.first_mut() {
            first.p_keys[0] = PKey::DEFAULT; // what a port starts with (10.9.1.2)
        }
        let end = EndPort { guids: GuidInfo::default(), traps: TrapQueue::default(), events: 0 };
        let mut port = Self {
            info: first_port_info(config, role, number),
            guid: Guid::default(),
            lease: Time::NEVER,
            counters: Counters::default(),
            p_keys,
            // Lane 0 for every service level until a manager says otherwise: it is on every link.
            sl_to_vl: vec![SlToVlMapping::default(); inputs].into_boxed_slice(),
            vl_arbitration: Default::default(),
            end: (role != PortRole::External).then(|| Box::new(end)),
        };
        if let Some(end) = &mut port.end {
            port.guid = guid;
            end.guids.guids[0] = guid;
        }
        port
    }

    /// Returns `true` if `lid` is one of the port's 2^LMC LIDs (7.11).
    #[inline]
    pub(crate) fn has_lid(&self, lid: Lid) -> bool {
        let base = self.info.lid.get();
        (lid.get() ^ base) >> self.info.lmc() == 0 && base != 0
    }

    /// Returns whether the port accepts management packets, and others.
    #[inline]
    pub(crate) fn is_up(&self) -> bool {
        self.info.port_state() != PortState::DOWN
    }

    /// Returns `true` if the port's table admits a packet's P_Key (10.9.3).
    pub(crate) fn admits(&self, p_key: PKey) -> bool {
        self.p_keys.iter().flat_map(|block| &block.p_keys).any(|own| own.matches(p_key))
    }

    /// Returns `true` if the port's table admits a packet; it admits packets without a P_Key.
    pub(crate) fn admits_packet(&self, packet: &[u8]) -> bool {
        match transport_header(packet) {
            Some(Some(bth)) => self.admits(bth.p_key),
            Some(None) => true,
            None => false,
        }
    }

    /// The lane that a packet of `words` words of four bytes leaves by, having come in by port `input`: the port has to
    /// be Active, the lane in use (7.6.6), and the packet no longer than the other end takes (18.2.5.4).
    #[inline]
    pub(crate) fn lane(&self, input: usize, sl: Sl, words: u16) -> Option<Vl> {
        let info = &self.info;
        let vl = self.sl_to_vl.get(input)?.vl(sl);
        // Both fields are from 1 to 5, for a Set takes nothing else: 2^(n-1) lanes, at most 15, and 2^(n+7) bytes,
        // which NeighborMTU counts without the headers' 124.
        let lanes = 1u32 << (info.operational_vls().get().wrapping_sub(1) & 7);
        let in_use = vl != Vl::MANAGEMENT && u32::from(vl.get()) < lanes;
        let fits = u32::from(words) <= (32 << (info.neighbor_mtu().get() & 7)) + 31;
        (info.port_state() == PortState::ACTIVE && in_use && fits).then_some(vl)
    }

    /// The physical link came up: to Init, whatever the port was before. False if the port is switched off or was up.
    pub(crate) fn link_up(&mut self, link: Link) -> bool {
        if self.is_up() || self.info.physical_state() == PortPhysicalState::DISABLED {
            return false;
        }
        self.info.link_width_active = link.width;
        self.info.set_link_speed_active(link.speed.active());
        self.info.set_link_speed_ext_active(link.speed.active_ext());
        self.info.set_physical_state(PortPhysicalState::LINK_UP);
        self.info.set_port_state(PortState::INIT);
        true
    }

    /// The physical link went down, and the port with it; `physical` is what its physical layer does now. False if it
    /// was down.
    pub(crate) fn link_down(&mut self, physical: PortPhysicalState) -> bool {
        let was_up = self.is_up();
        if self.info.port_state() == PortState::ACTIVE {
            self.tell(Event::Inactive);
        }
        self.info.set_port_state(PortState::DOWN);
        self.info.set_physical_state(physical);
        if let Some(end) = &mut self.end {
            end.traps.clear(); // the SM that brings the port up reads it anew
        }
        was_up
    }

    /// Notes an event for the port's consumers.
    pub(crate) fn tell(&mut self, event: Event) {
        if let Some(end) = &mut self.end {
            end.events |= 1 << event as u8;
        }
    }

    /// The next event that the port's consumers have not been told.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        let end = self.end.as_mut()?;
        let event = Event::ALL.into_iter().find(|&event| end.events & 1 << event as u8 != 0)?;
        end.events &= !(1 << event as u8);
        Some(event)
    }

    /// Returns `true` if traps may leave: the port is Active (o14-3.2.1). No trap waits at a port without LIDs.
    pub(crate) fn may_trap(&self) -> bool {
        self.info.port_state() == PortState::ACTIVE
    }
}

/// The base transport header of a packet, which a raw packet has not; `None` where it is cut off.
#[inline]
pub(crate) fn transport_header(packet: &[u8]) -> Option<Option<&Bth>> {
    let (lrh, _) = Lrh::ref_from_prefix(packet).ok()?;
    let before = match lrh.next_header() {
        NextHeader::RawEthertype | NextHeader::RawIpv6 => return Some(None),
        NextHeader::Bth => size_of::<Lrh>(),
        NextHeader::Grh => size_of::<Lrh>() + size_of::<Grh>(),
    };
    Bth::ref_from_prefix(packet.get(before..)?).ok().map(|(bth, _)| Some(bth))
}

/// Returns PortInfo of a port that no SM has set.
fn first_port_info(config: &NodeConfig, role: PortRole, number: PortNum) -> PortInfo {
    let mut info = PortInfo::default();
    info.local_port = number;
    info.link_width_enabled = LinkWidth::X1 | LinkWidth::X4;
    info.link_width_supported = LinkWidth::X1 | LinkWidth::X4;
    info.link_width_active = LinkWidth::X4;
    info.vl_arbitration_high_cap = ARBITRATION_CAP;
    info.vl_arbitration_low_cap = ARBITRATION_CAP;
    info.set_link_speed_supported(config.speed.supported());
    info.set_link_speed_enabled(config.speed.supported());
    info.set_link_speed_active(config.speed.active());
    info.set_link_speed_ext_supported(config.speed.supported_ext());
    info.set_link_speed_ext_enabled(config.speed.supported_ext());
    info.set_link_speed_ext_active(config.speed.active_ext());
    info.set_port_state(PortState::DOWN);
    info.set_physical_state(PortPhysicalState::POLLING);
    info.set_link_down_default_state(PortPhysicalState::POLLING);
    info.set_mtu_cap(config.mtu_cap);
    info.set_vl_cap(config.vl_cap);
    // Like most hardware, begin with what both ends of a link of like ports come to: where OpenSM finds anything else,
    // it takes the link down once more.
    info.set_neighbor_mtu(config.mtu_cap);
    info.set_operational_vls(config.vl_cap);
    if role != PortRole::External {
        info.gid_prefix = GidPrefix::DEFAULT;
        info.guid_cap = 8;
        info.set_capability_mask(capabilities(config));
        info.set_response_time_value(RESPONSE_TIME);
    }
    if role == PortRole::Management {
        // The management port has no link of its own, and is always there (18.2.4.1).
        info.set_port_state(PortState::ACTIVE);
        info.set_physical_state(PortPhysicalState::LINK_UP);
    }
    info
}

/// RespTimeValue: 4.096 us x 2^16 = 268 ms, long enough for a hypervisor that was not scheduled for a while.
const RESPONSE_TIME: u8 = 16;

fn capabilities(config: &NodeConfig) -> iba::attr::CapabilityMask {
    use iba::attr::CapabilityMask as Can;
    let mut can = Can::TRAP
        | Can::SL_MAPPING
        | Can::SYSTEM_IMAGE_GUID
        | Can::CAPABILITY_MASK_NOTICE
        | Can::CLIENT_REREGISTRATION
        | Can::OTHER_LOCAL_CHANGES_NOTICE;
    can.set(Can::EXTENDED_SPEEDS, !config.speed.supported_ext().is_empty());
    can
}
