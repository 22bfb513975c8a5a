//! Which of several managers is master (IBA vol. 1, 14.4.1).

use core::cmp::Reverse;

use iba::attr::{SmControl, SmInfo, SmState};
use iba::{Guid, SmKey};

use crate::topology::End;

/// Outcome of the election with the managers that a sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// We are to manage the subnet.
    Manage,
    /// The manager there is to.
    StandBy(End),
    /// The manager there becomes master, and this one was: handover.
    HandOver(End),
    /// The manager there does, and has less right to than we: it is to hand over.
    Wait(End),
}

/// Returns `true` if `one` wins the election against `other`.
pub(crate) fn is_above(one: &SmInfo, other: &SmInfo) -> bool {
    let rank = |info: &SmInfo| -> (u8, Reverse<Guid>) { (info.priority(), Reverse(info.guid)) };
    rank(one) > rank(other)
}

/// Judges what a sweep found, we being `own`.
pub(crate) fn judge(own: &SmInfo, others: &[(End, SmInfo)]) -> Verdict {
    let trusted = |(_, other): &&(End, SmInfo)| other.sm_key == own.sm_key || other.sm_key == SmKey::default();
    let best = |states: &[SmState], least: Option<&SmInfo>| {
        let others = others.iter().filter(trusted).filter(|(_, other)| states.contains(&other.state()));
        let others = others.filter(|(_, other)| least.is_none_or(|least| is_above(other, least)));
        others.max_by_key(|(_, other)| (other.priority(), Reverse(other.guid))).map(|(end, _)| *end)
    };
    let is_master = own.state() == SmState::MASTER;
    let above: &[SmState] = if is_master {
        // One that discovers will find us, and stand by.
        &[SmState::MASTER, SmState::STANDBY]
    } else {
        &[SmState::STANDBY, SmState::DISCOVERING]
    };
    let (master, above) = (best(&[SmState::MASTER], None), best(above, Some(own)));
    match (is_master, master, above) {
        (true, _, Some(end)) => Verdict::HandOver(end),
        (true, Some(end), None) => Verdict::Wait(end),
        (false, Some(end), _) | (false, None, Some(end)) => Verdict::StandBy(end),
        (_, None, None) => Verdict::Manage,
    }
}

/// Returns `true` if the awaited manager is still present.
pub(crate) fn is_alive(own: &SmInfo, other: &SmInfo) -> bool {
    match other.state() {
        SmState::MASTER => true,
        SmState::STANDBY | SmState::DISCOVERING => is_above(other, own),
        _ => false,
    }
}

/// The state that a Set(SMInfo) with this modifier, of a sender in state `sender`, leads to from state `own`; `None`
/// where it is not allowed. Discovering includes another sweep, and so does Master.
pub(crate) fn obey(own: SmState, control: SmControl, sender: SmState) -> Option<SmState> {
    let by = if control == SmControl::ACKNOWLEDGE { SmState::STANDBY } else { SmState::MASTER };
    if sender != by {
        return None;
    }
    match (control, own) {
        (SmControl::HANDOVER, SmState::STANDBY | SmState::MASTER) => Some(SmState::MASTER),
        (SmControl::HANDOVER, SmState::DISCOVERING) | (SmControl::DISCOVER, SmState::STANDBY | SmState::MASTER) => {
            Some(SmState::DISCOVERING)
        }
        (SmControl::ACKNOWLEDGE, SmState::STANDBY | SmState::MASTER) => Some(own),
        (SmControl::DISABLE, SmState::STANDBY) => Some(SmState::NOT_ACTIVE),
        (SmControl::STANDBY, SmState::NOT_ACTIVE) => Some(SmState::STANDBY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(guid: u64, priority: u8, state: SmState) -> SmInfo {
        let mut info = SmInfo::default();
        (info.guid, info.sm_key) = (Guid::new(guid), SmKey::new(1));
        info.set_priority(priority);
        info.set_state(state);
        info
    }

    #[test]
    fn the_highest_priority_and_then_the_lowest_guid_is_master() {
        let end = |node| End { node, port: 1.into() };
        let judge = |own, others: &[SmInfo]| {
            let others: alloc::vec::Vec<_> = others.iter().enumerate().map(|(node, info)| (end(node), *info)).collect();
            super::judge(&own, &others)
        };
        let (standby, master, discovering) = (SmState::STANDBY, SmState::MASTER, SmState::DISCOVERING);
        let own = |state| manager(5, 3, state);
        // Where there is a master we stand by, whatever its priority; else it waits for the managers above.
        assert_eq!(judge(own(discovering), &[manager(1, 9, standby), manager(2, 0, master)]), Verdict::StandBy(end(1)));
        assert_eq!(
            judge(own(discovering), &[manager(6, 3, standby), manager(4, 3, standby)]),
            Verdict::StandBy(end(1))
        );
        assert_eq!(judge(own(discovering), &[manager(4, 3, discovering)]), Verdict::StandBy(end(0)));
        assert_eq!(judge(own(discovering), &[manager(6, 3, standby), manager(1, 2, standby)]), Verdict::Manage);
        assert_eq!(judge(own(discovering), &[manager(1, 15, SmState::NOT_ACTIVE)]), Verdict::Manage);
        // A master hands over to the best of those above it, and waits for a master below it.
        assert_eq!(judge(own(master), &[manager(1, 4, standby), manager(2, 9, standby)]), Verdict::HandOver(end(1)));
        assert_eq!(judge(own(master), &[manager(4, 3, master)]), Verdict::HandOver(end(0)));
        assert_eq!(judge(own(master), &[manager(6, 3, master)]), Verdict::Wait(end(0)));
        assert_eq!(judge(own(master), &[manager(6, 3, standby), manager(4, 3, discovering)]), Verdict::Manage);
        // Another key's manager is none of ours; one that does not show its key may be.
        let other = |key| {
            let mut info = manager(1, 15, master);
            info.sm_key = SmKey::new(key);
            info
        };
        assert_eq!(judge(own(discovering), &[other(2)]), Verdict::Manage);
        assert_eq!(judge(own(discovering), &[other(0)]), Verdict::StandBy(end(0)));
    }

    #[test]
    fn a_standby_waits_for_a_master_and_for_who_is_about_to_be_one() {
        let own = manager(5, 3, SmState::STANDBY);
        // A lesser one, one with a higher GUID, one with a lower GUID, a better one, and ourselves.
        let others = [(1, 2), (6, 3), (4, 3), (9, 4), (5, 3)];
        let row = |state| others.map(|(guid, priority)| is_alive(&own, &manager(guid, priority, state)));
        assert_eq!(row(SmState::MASTER), [true; 5], "whatever its priority");
        for state in [SmState::STANDBY, SmState::DISCOVERING] {
            assert_eq!(row(state), [false, false, true, true, false]);
        }
        assert_eq!(row(SmState::NOT_ACTIVE), [false; 5]);
    }

    #[test]
    fn only_the_right_sender_is_obeyed() {
        let states = [SmState::NOT_ACTIVE, SmState::DISCOVERING, SmState::STANDBY, SmState::MASTER];
        let row = |control, sender| states.map(|own| obey(own, control, sender));
        let [off, discovering, standby, master] = states.map(Some);
        assert_eq!(row(SmControl::HANDOVER, SmState::MASTER), [None, discovering, master, master]);
        assert_eq!(row(SmControl::ACKNOWLEDGE, SmState::STANDBY), [None, None, standby, master]);
        assert_eq!(row(SmControl::DISABLE, SmState::MASTER), [None, None, off, None]);
        assert_eq!(row(SmControl::STANDBY, SmState::MASTER), [standby, None, None, None]);
        assert_eq!(row(SmControl::DISCOVER, SmState::MASTER), [None, None, discovering, discovering]);
        for sender in [SmState::NOT_ACTIVE, SmState::DISCOVERING, SmState::STANDBY] {
            assert_eq!(row(SmControl::HANDOVER, sender), [None; 4]);
        }
        assert_eq!(row(SmControl::ACKNOWLEDGE, SmState::MASTER), [None; 4]);
        assert_eq!(row(SmControl::new(6), SmState::MASTER), [None; 4]);
    }
}
