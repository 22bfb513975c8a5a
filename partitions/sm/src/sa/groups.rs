//! Multicast groups and their members (IBA vol. 1, 15.2.5.17).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use iba::mad::Status;
use iba::notice::TrapNumber;
use iba::sa::{McMemberRecord, Record, SaMad, Selector};
use iba::{Gid, GidPrefix, Guid, Lid};

use super::bound::Bound;
use super::path::gid_of;
use super::rate::Rate;
use super::records::{Knowledge, Records};
use crate::outlet::Address;
use crate::ports::SUBNET_TIMEOUT;
use crate::topology::{Port, Topology};

/// More groups than this are refused: their tables would take the switches' memory, and ours.
const MAX_GROUPS: u16 = 1024;

/// The first byte of a multicast GID (4.1.1).
const MULTICAST_GID: u8 = 0xff;

/// The flag of a group that is not permanent, and the only one that is defined (4.1.1).
const TRANSIENT: u8 = 1;

/// GIDs of groups whose makers leave them to us: not permanent, link-local, and with a signature of their own.
const OWN_PREFIX: GidPrefix = GidPrefix::new(0xff12_a01c_fe80_0000);

/// The components that a request must have right of a group that exists, where it names them.
const CHECKED: u64 = 1 << 2 | 1 << 6 | 1 << 7 | 1 << 12 | 1 << 13;

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    /// Attributes that all members share.
    record: McMemberRecord,
    /// The members' join states, by their ports' GUIDs.
    members: BTreeMap<Guid, u8>,
}

/// All groups, by their GIDs.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: BTreeMap<Gid, Group>,
    /// Number of GIDs created.
    made: u64,
    /// `true` if switches must be updated.
    is_changed: bool,
    /// Groups that were created or deleted and not reported yet.
    news: Vec<(TrapNumber, Gid)>,
}

impl Group {
    pub(crate) fn lid(&self) -> Lid {
        self.record.mlid
    }

    /// The members' ports, and whether each receives what is sent to the group.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Guid, bool)> {
        self.members.iter().map(|(&guid, &state)| (guid, state & (McMemberRecord::FULL_MEMBER | NON_MEMBER) != 0))
    }

    /// The record of a member, or, with GUID 0, of the group.
    fn record_of(&self, guid: Guid, state: u8) -> McMemberRecord {
        let mut record = self.record;
        if guid != Guid::default() {
            record.port_gid = Gid { prefix: GidPrefix::DEFAULT, guid };
        }
        record.set_join_state(state);
        record
    }
}

/// The join state of a non-member, who receives without keeping the group alive.
const NON_MEMBER: u8 = 2;

impl Groups {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Returns `true` if a group changed since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.is_changed)
    }

    /// The groups that were made or are gone since this was asked last.
    pub(crate) fn take_news(&mut self) -> Vec<(TrapNumber, Gid)> {
        core::mem::take(&mut self.news)
    }

    /// Removes all groups: members register again with a new master.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Lets go of members whose ports are gone.
    pub(crate) fn retain(&mut self, topology: &Topology) {
        let is_there = |guid| topology.ends().any(|(_, port)| port.guid == guid);
        for group in self.groups.values_mut() {
            group.members.retain(|&guid, _| is_there(guid));
        }
        let news = &mut self.news;
        self.groups.retain(|&gid, group| {
            let is_alive = is_alive(group);
            news.extend((!is_alive).then_some((TrapNumber::GROUP_DELETED, gid)));
            is_alive
        });
    }

    /// A port joins a group, which is made if the request says enough.
    ///
    /// # Errors
    /// The status of a refusal.
    pub(crate) fn join(
        &mut self,
        from: &Address,
        request: &SaMad,
        known: Knowledge<'_>,
    ) -> Result<McMemberRecord, Status> {
        let wanted: &McMemberRecord = request.record();
        let port = requester(from, request, known.topology)?;
        let mut gid = wanted.mgid;
        if gid == Gid::default() {
            self.made += 1;
            gid = Gid { prefix: OWN_PREFIX, guid: Guid::new(self.made) };
        }
        if !self.groups.contains_key(&gid) {
            let record = self.make(gid, request, port)?;
            self.groups.insert(gid, Group { record, members: BTreeMap::new() });
            self.news.push((TrapNumber::GROUP_CREATED, gid));
        }
        let group = self.groups.get_mut(&gid).ok_or(Status::SA_INVALID_REQUEST)?;
        if !fits(&group.record, request, port) {
            return Err(Status::SA_INVALID_REQUEST);
        }
        let state = group.members.entry(port.guid).or_default();
        self.is_changed |= *state | wanted.join_state() != *state;
        *state |= wanted.join_state();
        let state = *state;
        Ok(group.record_of(port.guid, state))
    }

    /// A port leaves a group, which is gone with its last full member.
    ///
    /// # Errors
    /// The status of a refusal.
    pub(crate) fn leave(
        &mut self,
        from: &Address,
        request: &SaMad,
        known: Knowledge<'_>,
    ) -> Result<McMemberRecord, Status> {
        let wanted: &McMemberRecord = request.record();
        let guid = requester(from, request, known.topology)?.guid;
        let group = self.groups.get_mut(&wanted.mgid).ok_or(Status::SA_INVALID_REQUEST)?;
        let state = group.members.get(&guid).copied().ok_or(Status::SA_INVALID_REQUEST)?;
        if wanted.join_state() & !state != 0 {
            return Err(Status::SA_INVALID_REQUEST);
        }
        let left = state & !wanted.join_state();
        if left == 0 {
            group.members.remove(&guid);
        } else {
            group.members.insert(guid, left);
        }
        let record = group.record_of(guid, left);
        if !is_alive(group) {
            self.groups.remove(&wanted.mgid);
            self.news.push((TrapNumber::GROUP_DELETED, wanted.mgid));
        }
        self.is_changed = true;
        Ok(record)
    }

    /// The records that `request` names: of members for who knows the SM_Key, of groups for all others (15.4.1.2).
    ///
    /// # Errors
    /// They are too many for a table.
    pub(crate) fn records(&self, request: &SaMad, known: Knowledge<'_>) -> Result<Records, Status> {
        let (wanted, mask): (&McMemberRecord, u64) = (request.record(), request.component_mask.get());
        let mut records = Records::default();
        let is_trusted = request.sm_key == known.own.sm_key;
        for group in self.groups.values() {
            let members = group.members.iter().filter(|_| is_trusted).map(|(&guid, &state)| (guid, state));
            let all = (!is_trusted).then_some((Guid::default(), 0));
            for record in members.chain(all).map(|(guid, state)| group.record_of(guid, state)) {
                if record.matches(wanted, mask) {
                    records.push(&record)?;
                }
            }
        }
        Ok(records)
    }

    /// Returns the attributes of a new group: those of the request, and else of its first member's port.
    fn make(&self, gid: Gid, request: &SaMad, port: &Port) -> Result<McMemberRecord, Status> {
        let wanted: &McMemberRecord = request.record();
        if request.component_mask.get() & McMemberRecord::TO_CREATE != McMemberRecord::TO_CREATE {
            return Err(Status::SA_INSUFFICIENT_COMPONENTS);
        }
        let [first, flags_scope, ..] = gid.prefix.get().to_be_bytes();
        let is_known = flags_scope >> 4 <= TRANSIENT;
        let is_full = wanted.join_state() & McMemberRecord::FULL_MEMBER != 0;
        if first != MULTICAST_GID || !is_known || !is_full || wanted.p_key.is_invalid() {
            return Err(Status::SA_INVALID_REQUEST);
        }
        let is_free = |lid: &Lid| self.groups.values().all(|group| group.record.mlid != *lid);
        let first_lid = Lid::MULTICAST.start().get();
        let mlid = (first_lid..first_lid + MAX_GROUPS).map(Lid::new).find(is_free).ok_or(Status::SA_NO_RESOURCES)?;
        let mut record = *wanted;
        (record.mgid, record.mlid, record.port_gid) = (gid, mlid, Gid::default());
        record.set_scope(flags_scope & 0xf);
        record.set_proxy(false);
        let (mtu, rate) = bounds(request);
        record.set_mtu_code(mtu.best_mtu(port.info.neighbor_mtu()).ok_or(Status::SA_INVALID_REQUEST)?);
        record.set_mtu_selector(Selector::EXACTLY);
        record.set_rate(rate.best_rate(Rate::of(&port.info)).ok_or(Status::SA_INVALID_REQUEST)?);
        record.set_rate_selector(Selector::EXACTLY);
        record.set_life_time(SUBNET_TIMEOUT);
        record.set_life_time_selector(Selector::EXACTLY);
        Ok(record)
    }
}

/// Components for the selectors, which stand before their values.
const MTU_SELECTOR: u32 = 4;
const RATE_SELECTOR: u32 = 8;

/// The bounds that a request sets to a group's MTU and rate.
fn bounds(request: &SaMad) -> (Bound, Bound) {
    let wanted: &McMemberRecord = request.record();
    let mtu = Bound::of_mtu(request, MTU_SELECTOR, wanted.mtu_selector(), wanted.mtu_code());
    (mtu, Bound::of_rate(request, RATE_SELECTOR, wanted.rate_selector(), wanted.rate()))
}

/// Returns `true` if a port can receive all packets of a group, and the group matches the request.
fn fits(group: &McMemberRecord, request: &SaMad, port: &Port) -> bool {
    let (mtu, rate) = bounds(request);
    let (best_mtu, best_rate) = (port.info.neighbor_mtu().get(), Rate::of(&port.info));
    let is_in_reach = group.mtu_code() <= best_mtu && Rate(group.rate()).double_gbps() <= best_rate.double_gbps();
    is_in_reach
        && mtu.allows_mtu(group.mtu_code())
        && rate.allows_rate(group.rate())
        && group.matches(request.record(), request.component_mask.get() & CHECKED)
}

fn is_alive(group: &Group) -> bool {
    group.members.values().any(|state| state & McMemberRecord::FULL_MEMBER != 0)
}

/// The port that joins or leaves: the requester's own, and no other's.
fn requester<'a>(from: &Address, request: &SaMad, topology: &'a Topology) -> Result<&'a Port, Status> {
    let wanted: &McMemberRecord = request.record();
    let is_complete = request.has(McMemberRecord::MGID)
        && request.has(McMemberRecord::PORT_GID)
        && request.has(McMemberRecord::JOIN_STATE);
    if !is_complete || wanted.join_state() == 0 {
        return Err(Status::SA_INSUFFICIENT_COMPONENTS);
    }
    let port = topology.ends().map(|(_, port)| port).find(|port| gid_of(port) == wanted.port_gid);
    let port = port.ok_or(Status::SA_INVALID_GID)?;
    if port.info.lid == from.lid { Ok(port) } else { Err(Status::SA_DENIED) }
}
