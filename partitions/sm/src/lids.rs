//! Which LID each port has.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use iba::{Guid, Lid};

use crate::topology::Topology;

/// LIDs of all ports that were ever seen, by their GUIDs, so that one that comes back gets its LID again.
#[derive(Debug, Default)]
pub(crate) struct Lids {
    of: BTreeMap<Guid, Lid>,
    owners: BTreeMap<Lid, Guid>,
}

impl Lids {
    /// The LID of the port with this GUID.
    pub(crate) fn get(&self, guid: Guid) -> Option<Lid> {
        self.of.get(&guid).copied()
    }

    /// Sees to it that each port that packets end at has a LID of its own. A port keeps the one that it has, unless
    /// another has more right to it: one that it was given to, or one whose GUID is lower.
    pub(crate) fn assign(&mut self, topology: &Topology) {
        let mut present: BTreeMap<Guid, Lid> = topology.ends().map(|(_, port)| (port.guid, port.info.lid)).collect();
        present.remove(&Guid::default());
        let mut taken = BTreeMap::new();
        for (&guid, &lid) in present.iter().filter(|(guid, lid)| self.of.get(guid) == Some(lid)) {
            taken.insert(lid, guid);
        }
        for (&guid, &lid) in &present {
            let has_owner = self.owners.get(&lid).is_some_and(|owner| *owner != guid && present.contains_key(owner));
            if lid.is_unicast() && !has_owner {
                taken.entry(lid).or_insert(guid);
            }
        }
        let homeless = present.keys().filter(|guid| taken.get(&present[guid]) != Some(guid)).copied();
        let mut free = Lid::UNICAST.start().get();
        for guid in homeless.collect::<Vec<_>>() {
            let before = self.get(guid).filter(|lid| !taken.contains_key(lid));
            let Some(lid) = before.or_else(|| self.free(&taken, &mut free)) else { break };
            taken.insert(lid, guid);
        }
        for (lid, guid) in taken {
            if let Some(old) = self.of.insert(guid, lid).filter(|old| *old != lid) {
                self.owners.remove(&old);
            }
            if let Some(old) = self.owners.insert(lid, guid).filter(|old| *old != guid) {
                self.of.remove(&old);
            }
        }
    }

    /// Returns the next free LID from `from` on; or of one that is not there, if all were given out.
    fn free(&self, taken: &BTreeMap<Lid, Guid>, from: &mut u16) -> Option<Lid> {
        let last = Lid::UNICAST.end().get();
        let is_free = |lid: &Lid| !taken.contains_key(lid) && !self.owners.contains_key(lid);
        let found = (*from..=last).map(Lid::new).find(is_free);
        let found = found.or_else(|| (1..=last).map(Lid::new).find(|lid| !taken.contains_key(lid)))?;
        *from = found.get();
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use iba::PortNum;
    use iba::attr::{NodeInfo, NodeType};

    use super::*;
    use crate::route::Route;
    use crate::topology::Port;

    /// Adapters with these GUIDs and LIDs.
    fn topology(ports: &[(u64, u16)]) -> Topology {
        let mut topology = Topology::default();
        for &(guid, lid) in ports {
            let guid = Guid::new(guid);
            let node =
                topology.add(NodeInfo { node_type: NodeType::CHANNEL_ADAPTER, node_guid: guid, ..NodeInfo::default() });
            let mut port = Port::new(guid, Route::default());
            port.info.lid = Lid::new(lid);
            topology.nodes[node].ports.insert(PortNum::new(1), port);
        }
        topology
    }

    fn assigned(lids: &mut Lids, ports: &[(u64, u16)]) -> alloc::vec::Vec<u16> {
        lids.assign(&topology(ports));
        ports.iter().map(|&(guid, _)| lids.get(Guid::new(guid)).map_or(0, Lid::get)).collect()
    }

    #[test]
    fn a_port_keeps_its_lid_unless_another_has_it() {
        let mut lids = Lids::default();
        assert_eq!(assigned(&mut lids, &[(1, 7), (2, 0), (3, 7), (4, 0xc000), (5, 0xffff)]), [7, 1, 2, 3, 4]);
        // One that has come with a LID that was given to another, who was restarted and has lost it.
        assert_eq!(assigned(&mut lids, &[(1, 7), (2, 0), (6, 1)]), [7, 1, 5]);
    }

    /// Ports lose their LIDs, claim those of others, go and come, in all ways that three ports and two LIDs allow.
    #[test]
    fn whatever_ports_claim_each_has_a_lid_and_those_that_keep_theirs_are_let_be() {
        // 0 is a port that has lost its LID, 3 one that is not there.
        let claims: Vec<[u16; 3]> = (0..64).map(|all| [all & 3, all >> 2 & 3, all >> 4]).collect();
        for (&first, &second) in claims.iter().flat_map(|first| claims.iter().map(move |second| (first, second))) {
            let mut lids = Lids::default();
            let mut before = [0; 3];
            for claims in [first, second] {
                let there: Vec<_> = (1..).zip(claims).filter(|&(_, claim)| claim != 3).collect();
                let mut given = assigned(&mut lids, &there).into_iter();
                let now = claims.map(|claim| if claim == 3 { 0 } else { given.next().unwrap_or_default() });
                for (index, (claim, lid)) in
                    claims.into_iter().zip(now).enumerate().filter(|(_, (claim, _))| *claim != 3)
                {
                    assert!(
                        Lid::new(lid).is_unicast() && !now[..index].contains(&lid),
                        "{first:?}, {second:?}: {now:?}"
                    );
                    let keeps = claim != 0 && claim == before[index];
                    assert!(!keeps || lid == claim, "{first:?}, {second:?}: {now:?}");
                }
                before = now;
            }
        }
    }

    #[test]
    fn a_port_that_comes_back_gets_its_lid_again() {
        let mut lids = Lids::default();
        assert_eq!(assigned(&mut lids, &[(1, 0), (2, 0)]), [1, 2]);
        assert_eq!(assigned(&mut lids, &[(2, 2), (3, 0)]), [2, 3], "the LID of one that is gone stays its own");
        assert_eq!(assigned(&mut lids, &[(1, 0), (2, 2), (3, 3)]), [1, 2, 3]);
    }

    #[test]
    fn lids_of_those_that_are_gone_are_given_out_when_no_others_are_left() {
        let mut lids = Lids::default();
        for lid in 1..0xbfff {
            lids.owners.insert(Lid::new(lid), Guid::new(u64::from(lid) + 100));
        }
        assert_eq!(assigned(&mut lids, &[(1, 0), (2, 0), (3, 0)]), [0xbfff, 1, 2]);
    }
}
