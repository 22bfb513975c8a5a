//! Flows: resolved destinations of a queue pair's datagrams.
//!
//! Datagrams with the same address words have the route, the keys and most of the receiver's completion in common. A
//! queue pair remembers them until the routing epoch of the HSMA, or the receiver, changes.

use core::mem::offset_of;

use lhca_contract::SendEntry;
use subnet::{DeferredId, RoutingEpoch};

/// Destination of a send request and the way to it: its second and third word, flags to Q_Key.
pub(crate) type Address = [u64; 2];

/// The properties that the datagrams of a queue pair to one destination have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) address: Address,
    pub(crate) epoch: RoutingEpoch,
    /// Index of the receiving LHCA; [`SLOW_PATH`] if the datagrams take the slow path.
    pub(crate) receiver: usize,
    /// The receiver's count of changes when its queue pair was found to accept the datagrams.
    pub(crate) changes: u64,
    /// Slot of the receiving queue pair.
    pub(crate) slot: usize,
    pub(crate) deferred: DeferredId,
    /// Headers and invariant CRC of each packet, in words of four bytes.
    pub(crate) overhead: u64,
    /// Mask of the immediate data in the receiver's completion.
    pub(crate) immediate: u64,
    /// The longest payload, in bytes.
    pub(crate) mtu: u64,
    /// The receiver's completion, without the fields that are each datagram's own.
    pub(crate) received: [u64; 4],
    /// Handle of the sending queue pair.
    pub(crate) sender: u64,
}

/// Index of no LHCA: the flow's datagrams take the slow path.
pub(crate) const SLOW_PATH: usize = usize::MAX;

/// Flows that a queue pair remembers, by the lower bits of the destination LID.
#[derive(Debug, Default)]
pub(crate) struct Flows([Flow; 8]);

impl Flow {
    /// Creates a flow whose datagrams take the slow path.
    pub(crate) fn slow(address: Address, epoch: RoutingEpoch) -> Self {
        Self { address, epoch, receiver: SLOW_PATH, ..Self::default() }
    }
}

impl Flows {
    /// Returns the index of the flow to `address`.
    #[inline(always)]
    fn index(address: Address) -> usize {
        const LOW_BYTE: usize = offset_of!(SendEntry, dlid) + 1 - 8;
        (address[0] >> (8 * LOW_BYTE)) as usize & 7
    }

    /// Returns the flow to `address`, unless it is unknown or the routing epoch has changed since.
    #[inline(always)]
    pub(crate) fn get(&self, address: Address, epoch: RoutingEpoch) -> Option<&Flow> {
        Some(&self.0[Self::index(address)]).filter(|flow| flow.address == address && flow.epoch == epoch)
    }

    /// Remembers `flow` in place of another with the same index.
    pub(crate) fn set(&mut self, flow: Flow) {
        self.0[Self::index(flow.address)] = flow;
    }
}
