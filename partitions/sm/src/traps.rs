//! Traps: what they mean for a master, and the one that a manager sends itself (IBA vol. 1, 14.2.5.1, 14.4.9).

use iba::attr::CapabilityMask;
use iba::mad::{Attribute, Class, Method};
use iba::notice::{Changes, LocalChange, Notice, TrapNumber};
use iba::smp::Smp;
use iba::{Lid, ProducerType, TransactionId};

use crate::route::request;

/// Act on a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Report it alone.
    ReportOnly,
    /// Sweep the subnet.
    Sweep,
    /// Read the name of the node whose port has this LID.
    Rename(Lid),
}

/// Returns the act on `notice`.
pub(crate) fn consequence(notice: &Notice) -> Consequence {
    match notice.trap_number {
        TrapNumber::LINK_STATE_CHANGE | TrapNumber::SYSTEM_IMAGE_GUID_CHANGE => Consequence::Sweep,
        TrapNumber::LOCAL_CHANGE => {
            let change: &LocalChange = notice.details();
            if change.other_local_changes() && change.changes() == Changes::NODE_DESCRIPTION {
                Consequence::Rename(change.lid)
            } else {
                Consequence::Sweep
            }
        }
        _ => Consequence::ReportOnly,
    }
}

/// Returns the repress of `trap` (13.4.9).
pub(crate) fn repress(trap: &Smp) -> Smp {
    let mut smp = *trap;
    smp.header.method = Method::TRAP_REPRESS;
    smp
}

/// Returns trap 144 of a changed SM priority, which a standby that would win the election sends to the master.
pub(crate) fn claim(own: Lid, id: u32, capabilities: CapabilityMask) -> Smp {
    let mut change = LocalChange::default();
    change.lid = own;
    change.set_capability_mask(capabilities);
    change.set_other_local_changes(true);
    change.set_changes(Changes::SM_PRIORITY);
    let notice = Notice::new(TrapNumber::LOCAL_CHANGE, ProducerType::CLASS_MANAGER, own, &change);
    let mut smp = request(Class::SUBN_LID_ROUTED, Method::TRAP, Notice::ID, 0);
    smp.header.transaction_id = TransactionId::new(id.into());
    smp.set_attribute(&notice);
    smp
}
