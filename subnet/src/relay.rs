//! A switch's relay: its forwarding tables, and where they send a packet (18.2.4).

use alloc::boxed::Box;
use alloc::vec;

use iba::attr::{LinearForwardingBlock, MulticastForwardingBlock, SwitchInfo};
use iba::{Lid, PortNum};

use crate::config::blocks;

/// Blocks of the linear table: every unicast LID there is, 0x0000 to 0xBFFF.
pub(crate) const LINEAR_BLOCKS: usize = 0xc000 / LinearForwardingBlock::LIDS;

/// Blocks of the multicast table: every multicast LID there is, 0xC000 to 0xFFFF.
pub(crate) const MULTICAST_BLOCKS: usize = 0x4000 / MulticastForwardingBlock::LIDS;

/// A set of ports, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortMask([u64; 4]);

/// Where a switch sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// By this port.
    Port(PortNum),
    /// By these ports.
    Multicast(PortMask),
    /// To the management port: it has this LID.
    Management,
    /// Nowhere: neither table knows the LID.
    NoRoute,
    /// Nowhere: it would leave by the port that it came in by.
    Loop,
}

/// SwitchInfo and the forwarding tables, all in wire form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Relay {
    pub(crate) info: SwitchInfo,
    pub(crate) linear: Box<[LinearForwardingBlock]>,
    /// By block of LIDs, then by position.
    pub(crate) multicast: Box<[MulticastForwardingBlock]>,
    /// Positions that the ports need: 16 ports each.
    pub(crate) positions: usize,
}

impl Relay {
    /// A relay between `ports` ports and the management port, that forwards nothing yet.
    ///
    /// The tables are full-size: OpenSM makes the smallest table of all switches the whole subnet's bound. The
    /// management port is a base one: nothing but management packets end at it, so that it needs no link state, no
    /// second LID and no steps of a manager to bring it up.
    pub(crate) fn new(ports: u8, enforced_partitions: u16) -> Self {
        let mut info = SwitchInfo::default();
        info.linear_fdb_cap = 0xbfff.into();
        info.multicast_fdb_cap = 0x3fff.into();
        info.partition_enforcement_cap = blocks(enforced_partitions).saturating_mul(32).into();
        info.default_multicast_primary_port = PortNum::DISCARD;
        info.default_multicast_not_primary_port = PortNum::DISCARD;
        info.set_inbound_enforcement_cap(enforced_partitions > 0);
        info.set_outbound_enforcement_cap(enforced_partitions > 0);
        let positions = usize::from(ports) / MulticastForwardingBlock::PORTS + 1;
        Self {
            info,
            linear: vec![LinearForwardingBlock::default(); LINEAR_BLOCKS].into_boxed_slice(),
            multicast: vec![MulticastForwardingBlock::default(); MULTICAST_BLOCKS * positions].into_boxed_slice(),
            positions,
        }
    }

    /// The port of a unicast LID that is not the switch's own; [`PortNum::DISCARD`] for one that goes nowhere.
    #[inline]
    pub(crate) fn unicast(&self, dlid: Lid) -> PortNum {
        let lid = dlid.get();
        if dlid == Lid::UNASSIGNED || lid > self.info.linear_fdb_top.get() {
            return PortNum::DISCARD;
        }
        let block = self.linear.get(usize::from(lid) / LinearForwardingBlock::LIDS);
        block.map_or(PortNum::DISCARD, |block| block.ports[usize::from(lid) % LinearForwardingBlock::LIDS])
    }

    /// The ports of a multicast LID.
    pub(crate) fn multicast(&self, dlid: Lid) -> PortMask {
        let mut mask = PortMask::default();
        if !dlid.is_multicast() {
            return mask;
        }
        let lid = usize::from(dlid.get() - Lid::MULTICAST.start().get());
        let (block, entry) = (lid / MulticastForwardingBlock::LIDS, lid % MulticastForwardingBlock::LIDS);
        for position in 0..self.positions {
            let ports = self.multicast[block * self.positions + position].masks[entry].get();
            mask.0[position / 4] |= u64::from(ports) << (position % 4 * MulticastForwardingBlock::PORTS);
        }
        mask
    }
}

impl PortMask {
    /// The set without `port`.
    #[must_use]
    pub fn without(mut self, port: PortNum) -> Self {
        self.0[usize::from(port.get() / 64)] &= !(1 << (port.get() % 64));
        self
    }

    /// Returns `true` if the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}

impl Iterator for PortMask {
    type Item = PortNum;

    /// Takes the least port out of the set.
    fn next(&mut self) -> Option<PortNum> {
        let word = self.0.iter().position(|&word| word != 0)?;
        let bit = self.0[word].trailing_zeros();
        self.0[word] &= self.0[word] - 1;
        u8::try_from(word * 64).ok().zip(u8::try_from(bit).ok()).map(|(base, bit)| PortNum::new(base + bit))
    }
}
