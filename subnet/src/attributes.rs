//! Get and Set of the subnet management agent's attributes (14.2.5).
//!
//! A Set is checked whole before any of it is applied, and answered with what the attribute is then.

use iba::attr::{
    GuidInfo, MulticastForwardingBlock, PKeyTable, PortInfo, PortState, SlToVlMapping, SwitchInfo, VlArbitration,
};
use iba::notice::Changes;
use iba::smp::Smp;
use iba::{MKey, PortNum};

use crate::body::Body;
use crate::directed::NodeKind;
use crate::dispatch::SubnetAttribute;
use crate::outlet::Event;
use crate::port::PortRole;
use crate::port_set::{Context, InvalidField, check};
use crate::relay::{LINEAR_BLOCKS, MULTICAST_BLOCKS};
use crate::time::Time;

/// PortInfo's modifier: the requester knows extended speeds (14.2.5.6).
const EXTENDED_SPEEDS: u32 = 1 << 31;

impl Body {
    /// Answers a Get that came in by port `number`.
    #[inline(always)]
    pub(crate) fn get(&self, number: PortNum, attribute: SubnetAttribute, smp: &mut Smp) -> Result<(), InvalidField> {
        let modifier = smp.header.attribute_modifier.get();
        match attribute {
            SubnetAttribute::NodeDescription => {
                none(modifier)?;
                smp.data = self.description.bytes;
            }
            SubnetAttribute::NodeInfo => {
                none(modifier)?;
                smp.set_attribute(&self.node_info);
                let info = smp.attribute_mut::<iba::attr::NodeInfo>();
                info.local_port = number;
                info.port_guid = self.ports[self.index(self.end_of(number))].guid;
            }
            SubnetAttribute::SwitchInfo => {
                none(modifier)?;
                smp.set_attribute(&self.relay.as_ref().ok_or(InvalidField)?.info);
            }
            SubnetAttribute::GuidInfo => {
                none(modifier)?; // there is one block
                let end = self.index(self.end_of(number));
                smp.set_attribute(&self.ports[end].end.as_ref().ok_or(InvalidField)?.guids);
            }
            SubnetAttribute::PortInfo => return self.get_port_info(number, smp),
            SubnetAttribute::PKeyTable => {
                let (port, block) = self.p_key_block(number, modifier)?;
                smp.set_attribute(&self.ports[port].p_keys[block]);
            }
            SubnetAttribute::SlToVlMappingTable => {
                let (port, input) = self.sl_to_vl_entry(number, modifier)?;
                smp.set_attribute(&self.ports[port].sl_to_vl[input]);
            }
            SubnetAttribute::VlArbitrationTable => {
                let (port, block) = self.arbitration_block(number, modifier)?;
                smp.set_attribute(&self.ports[port].vl_arbitration[block]);
            }
            SubnetAttribute::LinearForwardingTable => {
                let relay = self.relay.as_ref().ok_or(InvalidField)?;
                smp.set_attribute(&relay.linear[linear_block(modifier)?]);
            }
            SubnetAttribute::MulticastForwardingTable => {
                let relay = self.relay.as_ref().ok_or(InvalidField)?;
                smp.set_attribute(&relay.multicast[multicast_block(modifier, relay.positions)?]);
            }
        }
        Ok(())
    }

    /// Does a Set that came in by port `number`.
    #[inline]
    pub(crate) fn set(
        &mut self,
        now: Time,
        number: PortNum,
        attribute: SubnetAttribute,
        smp: &mut Smp,
    ) -> Result<(), InvalidField> {
        let modifier = smp.header.attribute_modifier.get();
        let end = self.index(self.end_of(number));
        match attribute {
            // Both are read-only.
            SubnetAttribute::NodeDescription | SubnetAttribute::NodeInfo => return Err(InvalidField),
            SubnetAttribute::SwitchInfo => {
                none(modifier)?;
                self.set_switch_info(*smp.attribute())?;
                return self.get(number, attribute, smp);
            }
            SubnetAttribute::GuidInfo => {
                none(modifier)?;
                self.set_guids(end, smp)?;
            }
            SubnetAttribute::PortInfo => return self.set_port_info(now, number, smp),
            SubnetAttribute::PKeyTable => {
                let (port, block) = self.p_key_block(number, modifier)?;
                let port = &mut self.ports[port];
                let keys: &PKeyTable = smp.attribute();
                if port.p_keys[block] != *keys {
                    port.p_keys[block] = *keys;
                    port.tell(Event::PKeyChange);
                    self.deadline = Time::default();
                }
            }
            SubnetAttribute::SlToVlMappingTable => {
                let (port, input) = self.sl_to_vl_entry(number, modifier)?;
                let entry: SlToVlMapping = *smp.attribute();
                self.ports[port].sl_to_vl[input] = entry;
                smp.set_attribute(&entry);
            }
            SubnetAttribute::VlArbitrationTable => {
                let (port, block) = self.arbitration_block(number, modifier)?;
                self.ports[port].vl_arbitration[block] = *smp.attribute::<VlArbitration>();
            }
            SubnetAttribute::LinearForwardingTable => self.set_linear(smp)?,
            SubnetAttribute::MulticastForwardingTable => {
                let relay = self.relay.as_mut().ok_or(InvalidField)?;
                relay.multicast[multicast_block(modifier, relay.positions)?] =
                    *smp.attribute::<MulticastForwardingBlock>();
            }
        }
        Ok(())
    }

    /// Sets a block of the linear forwarding table, of which a manager sends more than of anything else.
    #[inline]
    pub(crate) fn set_linear(&mut self, smp: &Smp) -> Result<(), InvalidField> {
        let block = smp.header.attribute_modifier.get();
        let relay = self.relay.as_mut().ok_or(InvalidField)?;
        *relay.linear.get_mut(block as usize).ok_or(InvalidField)? = *smp.attribute();
        Ok(())
    }

    #[inline(always)]
    fn get_port_info(&self, number: PortNum, smp: &mut Smp) -> Result<(), InvalidField> {
        let asked = self.port_of_modifier(number, smp.header.attribute_modifier.get())?;
        let info = &self.ports[self.index(asked)].info;
        smp.data = *zerocopy::transmute_ref!(info);
        let hide = info.m_key_protect_bits() == 1 && info.m_key != smp.m_key;
        let answer: &mut PortInfo = smp.attribute_mut();
        answer.local_port = number;
        if hide {
            answer.m_key = MKey::default(); // 14.2.4.1: a requester without the key may read all but the key
        }
        Ok(())
    }

    /// The port that PortInfo's modifier names: a port's number, or 0 for the one that the request ended at.
    #[inline]
    pub(crate) fn port_of_modifier(&self, number: PortNum, modifier: u32) -> Result<PortNum, InvalidField> {
        let asked = u8::try_from(modifier & !EXTENDED_SPEEDS).map_err(|_| InvalidField)?;
        let asked = if asked == 0 { self.end_of(number) } else { PortNum::new(asked) };
        if asked.get() <= self.node_info.num_ports { Ok(asked) } else { Err(InvalidField) }
    }

    fn set_port_info(&mut self, now: Time, number: PortNum, smp: &mut Smp) -> Result<(), InvalidField> {
        let modifier = smp.header.attribute_modifier.get();
        let asked = self.port_of_modifier(number, modifier)?;
        // An adapter's port is set only through itself.
        if self.kind == NodeKind::ChannelAdapter && asked != number {
            return Err(InvalidField);
        }
        let context = Context {
            role: self.role(asked),
            extended_speeds: modifier & EXTENDED_SPEEDS != 0,
            enforces: self.relay.as_ref().is_some_and(|relay| relay.info.partition_enforcement_cap.get() > 0),
        };
        let set: PortInfo = *smp.attribute();
        let index = self.index(asked);
        let port = &mut self.ports[index];
        let old = port.info;
        let change = check(&old, &set, context)?;
        port.info = change.next;
        let mut changes = Changes::empty();
        changes.set(Changes::LINK_WIDTH_ENABLED, old.link_width_enabled != change.next.link_width_enabled);
        let speeds = |info: &PortInfo| (info.link_speed_enabled(), info.link_speed_ext_enabled());
        changes.set(Changes::LINK_SPEED_ENABLED, speeds(&old) != speeds(&change.next));
        self.tell_changes(index, &old, set.client_reregister());
        self.deadline = Time::default();
        if !changes.is_empty() {
            self.raise_local_change(now, asked, changes);
        }
        smp.data = zerocopy::transmute!(change.next);
        let answer: &mut PortInfo = smp.attribute_mut();
        answer.local_port = number;
        // It is echoed, and not kept (o14-12.2.1).
        answer.set_client_reregister(context.role != PortRole::External && set.client_reregister());
        if let Some(request) = change.link {
            // The link falls once the answer has left by it; the answer tells already.
            answer.set_port_state(PortState::DOWN);
            self.link_request = Some((asked, request));
        }
        Ok(())
    }

    /// Tells a port's consumers, if it has any, what a Set(PortInfo) changed.
    fn tell_changes(&mut self, index: usize, old: &PortInfo, reregister: bool) {
        let port = &mut self.ports[index];
        let new = port.info;
        if (old.lid, old.lmc()) != (new.lid, new.lmc()) {
            port.tell(Event::LidChange);
        }
        if (old.master_sm_lid, old.master_sm_sl()) != (new.master_sm_lid, new.master_sm_sl()) {
            port.tell(Event::SmChange);
        }
        if old.gid_prefix != new.gid_prefix {
            port.tell(Event::GidChange);
        }
        if old.port_state() != PortState::ACTIVE && new.port_state() == PortState::ACTIVE {
            port.tell(Event::Active);
        }
        if reregister {
            port.tell(Event::ClientReregister);
        }
    }

    fn set_switch_info(&mut self, set: SwitchInfo) -> Result<(), InvalidField> {
        let info = &mut self.relay.as_mut().ok_or(InvalidField)?.info;
        if set.linear_fdb_top.get() > info.linear_fdb_cap.get() {
            return Err(InvalidField);
        }
        info.linear_fdb_top = set.linear_fdb_top;
        info.default_port = set.default_port;
        info.default_multicast_primary_port = set.default_multicast_primary_port;
        info.default_multicast_not_primary_port = set.default_multicast_not_primary_port;
        info.set_life_time_value(set.life_time_value());
        if set.port_state_change() {
            info.set_port_state_change(false);
        }
        Ok(())
    }

    fn set_guids(&mut self, end: usize, smp: &mut Smp) -> Result<(), InvalidField> {
        let port = &mut self.ports[end];
        let own = &mut port.end.as_mut().ok_or(InvalidField)?.guids;
        let set: &mut GuidInfo = smp.attribute_mut();
        set.guids[0] = own.guids[0]; // the port's own cannot be set
        if own != set {
            *own = *set;
            port.tell(Event::GidChange);
            self.deadline = Time::default();
        }
        Ok(())
    }

    /// The port's index and the block that P_KeyTable's modifier names (14.2.5.7).
    fn p_key_block(&self, number: PortNum, modifier: u32) -> Result<(usize, usize), InvalidField> {
        let [high, low, block_high, block_low] = modifier.to_be_bytes();
        let port = match (self.kind, high, low) {
            (NodeKind::ChannelAdapter, 0, 0) => number,
            (NodeKind::Switch, 0, low) => PortNum::new(low),
            _ => return Err(InvalidField),
        };
        let block = usize::from(u16::from_be_bytes([block_high, block_low]));
        let blocks = self.port(port).ok_or(InvalidField)?.p_keys.len();
        if block < blocks { Ok((self.index(port), block)) } else { Err(InvalidField) }
    }

    /// The output port's index and the input that SLtoVLMappingTable's modifier names (14.2.5.8).
    fn sl_to_vl_entry(&self, number: PortNum, modifier: u32) -> Result<(usize, usize), InvalidField> {
        let (port, input) = match (self.kind, modifier.to_be_bytes()) {
            (NodeKind::ChannelAdapter, [0, 0, 0, 0]) => (number, 0),
            (NodeKind::Switch, [0, 0, input, output]) => (PortNum::new(output), input.into()),
            _ => return Err(InvalidField),
        };
        let inputs = self.port(port).ok_or(InvalidField)?.sl_to_vl.len();
        if input < inputs { Ok((self.index(port), input)) } else { Err(InvalidField) }
    }

    /// The port's index and the block that VLArbitrationTable's modifier names (14.2.5.9). An adapter's port may be
    /// named, or not.
    fn arbitration_block(&self, number: PortNum, modifier: u32) -> Result<(usize, usize), InvalidField> {
        let (block, port) = match (self.kind, modifier.to_be_bytes()) {
            (NodeKind::Switch, [0, block, 0, port]) => (block, PortNum::new(port)),
            (NodeKind::ChannelAdapter, [0, block, 0, port]) if port == 0 || port == number.get() => (block, number),
            _ => return Err(InvalidField),
        };
        // The second halves are beyond what VLArbitrationLowCap and VLArbitrationHighCap say.
        let block = match block {
            1 => 0,
            3 => 1,
            _ => return Err(InvalidField),
        };
        self.port(port).ok_or(InvalidField)?;
        Ok((self.index(port), block))
    }
}

/// A modifier that means nothing.
#[inline]
fn none(modifier: u32) -> Result<(), InvalidField> {
    if modifier == 0 { Ok(()) } else { Err(InvalidField) }
}

/// The block that LinearForwardingTable's modifier names.
#[inline]
fn linear_block(modifier: u32) -> Result<usize, InvalidField> {
    usize::try_from(modifier).ok().filter(|&block| block < LINEAR_BLOCKS).ok_or(InvalidField)
}

/// The block that MulticastForwardingTable's modifier names: its number, and in the uppermost bits the position.
fn multicast_block(modifier: u32, positions: usize) -> Result<usize, InvalidField> {
    let block = usize::try_from(modifier & 0x0fff_ffff).map_err(|_| InvalidField)?;
    let position = usize::try_from(modifier >> 28).map_err(|_| InvalidField)?;
    if block < MULTICAST_BLOCKS && position < positions { Ok(block * positions + position) } else { Err(InvalidField) }
}
