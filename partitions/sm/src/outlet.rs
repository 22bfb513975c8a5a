//! Outlet of a manager.

use core::fmt;

use iba::attr::SmState;
use iba::notice::TrapNumber;
use iba::{Lid, Qpn, Sl};

/// The other end of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Its LID; the permissive one for a directed route, which the SMP itself holds.
    pub lid: Lid,
    /// Its queue pair: 0 for subnet management, which leaves by our own queue pair 0; any other by our queue pair 1.
    pub qp: Qpn,
    /// Service level.
    pub sl: Sl,
}

impl Address {
    /// Queue pair 0 of the port with this LID.
    #[must_use]
    pub fn smi(lid: Lid) -> Self {
        Self { lid, qp: Qpn::SMI, sl: Sl::default() }
    }
}

/// Where a manager's datagrams and news go.
pub trait Outlet {
    /// Sends `mad` to `to`. One that cannot be sent may be dropped, as the subnet may drop it.
    fn send(&mut self, to: &Address, mad: &[u8; 256]);

    /// Tells what happened, for people to read.
    fn tell(&mut self, event: Event) {
        let _ = event;
    }
}

/// Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The manager is in this state now.
    State(SmState),
    /// A sweep has come to its end.
    Swept(SweepReport),
    /// A trap came from the port with this LID.
    Trap(TrapNumber, Lid),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => write!(f, "subnet manager: {state}"),
            Self::Swept(SweepReport { nodes, lids, sets, failures: 0, silent: 0 }) => {
                write!(f, "subnet up: {nodes} nodes, {lids} LIDs; {sets} requests changed something")
            }
            Self::Swept(SweepReport { nodes, lids, failures, silent, .. }) => write!(
                f,
                "subnet up in part: {nodes} nodes, {lids} LIDs; {failures} requests failed, {silent} links lack a response at \
                 the other end"
            ),
            Self::Trap(trap, lid) => write!(f, "trap from LID {lid}: {trap}"),
        }
    }
}

/// Summary of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Nodes found.
    pub nodes: usize,
    /// Ports with a LID.
    pub lids: usize,
    /// Requests that changed something.
    pub sets: usize,
    /// Requests that were refused, or not answered by nodes that had answered before: there will be another sweep.
    pub failures: usize,
    /// Links that are up, without a response from the other end.
    pub silent: usize,
}
