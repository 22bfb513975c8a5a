//! Traffic of the physical ports' queue pairs 0.
//!
//! Each subnet management packet (SMP) of a logical port passes queue pair 0 of the physical port, which the HSMA owns.
//! A packet from an aliased queue pair 0 whose destination is a logical port, or the logical switch, is looped back:
//! the agent takes it as if the cable had brought it. All others leave by the physical port. A packet to the sender's
//! own port never comes that far, and is not counted.

use iba::mad::Method;

use super::types::UplinkId;

/// Offset of the MAD's method in an SMP packet: behind LRH, BTH, DETH and three bytes of the MAD (13.4.2).
const METHOD: usize = 8 + 12 + 8 + 3;

/// Number of SMPs at the queue pair 0 of a physical port, by their way, since start. The counts wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qp0Counters {
    /// SMPs that the cable brought.
    pub received: u64,
    /// SMPs from aliased queue pairs 0 that were looped back, because a logical port or the logical switch is their
    /// destination.
    pub looped_back: u64,
    /// SMPs from aliased queue pairs 0 that left by the physical port.
    pub routed_out: u64,
    /// Responses of the agent, for the logical switch and on behalf of logical ports.
    pub answered: u64,
    /// SMPs that were handed to aliased queue pairs 0.
    pub delivered: u64,
}

/// Origin of a packet that enters the HSMA's subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The cable of the physical port.
    Cable,
    /// An aliased queue pair 0.
    AliasedQp0,
}

/// Place at which a packet left the HSMA's subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// A physical port.
    Uplink(UplinkId),
    /// The consumers of an LHCA.
    Consumer,
    /// An agent took it, or it was dropped.
    Inside,
}

impl Qp0Counters {
    /// Counts an SMP from `origin` that left at `exit`. `was_request` says whether it entered as a request, and
    /// `packet` is the packet as it left.
    pub(super) fn count(&mut self, origin: Origin, exit: Exit, was_request: bool, packet: &[u8]) {
        let entered = match (origin, exit) {
            (Origin::Cable, _) => &mut self.received,
            (Origin::AliasedQp0, Exit::Uplink(_)) => &mut self.routed_out,
            (Origin::AliasedQp0, Exit::Consumer | Exit::Inside) => &mut self.looped_back,
        };
        *entered = entered.wrapping_add(1);
        if was_request && exit != Exit::Inside && !is_request(packet) {
            self.answered = self.answered.wrapping_add(1);
        }
        if exit == Exit::Consumer {
            self.delivered = self.delivered.wrapping_add(1);
        }
    }
}

/// Returns `true` if `packet` is for management: on virtual lane 15 (7.6.4).
#[inline]
pub(super) fn is_smp(packet: &[u8]) -> bool {
    packet.first().is_some_and(|byte| byte >> 4 == 15)
}

/// Returns `true` if the MAD of the SMP `packet` is a request: bit 7 of its method is clear (13.4.5).
pub(super) fn is_request(packet: &[u8]) -> bool {
    packet.get(METHOD).is_some_and(|method| !Method::new(*method).is_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: [u8; METHOD + 1] = [1; METHOD + 1];
    const RESPONSE: [u8; METHOD + 1] = [0x81; METHOD + 1];

    fn counted(origin: Origin, exit: Exit, was_request: bool, packet: &[u8]) -> Qp0Counters {
        let mut counters = Qp0Counters::default();
        counters.count(origin, exit, was_request, packet);
        counters
    }

    #[test]
    fn smp_from_the_cable_is_received_and_its_response_counted() {
        let uplink = Exit::Uplink(UplinkId(0));
        let none = Qp0Counters::default();
        let answered = Qp0Counters { received: 1, answered: 1, ..none };
        assert_eq!(counted(Origin::Cable, uplink, true, &RESPONSE), answered);
        let passed_on = Qp0Counters { received: 1, ..none };
        assert_eq!(counted(Origin::Cable, uplink, true, &REQUEST), passed_on);
        assert_eq!(counted(Origin::Cable, Exit::Inside, true, &REQUEST), passed_on);
        let delivered = Qp0Counters { received: 1, delivered: 1, ..none };
        assert_eq!(counted(Origin::Cable, Exit::Consumer, false, &RESPONSE), delivered);
    }

    #[test]
    fn smp_of_an_aliased_qp0_is_looped_back_unless_it_leaves() {
        let none = Qp0Counters::default();
        let routed_out = Qp0Counters { routed_out: 1, ..none };
        assert_eq!(counted(Origin::AliasedQp0, Exit::Uplink(UplinkId(0)), true, &REQUEST), routed_out);
        let answered = Qp0Counters { looped_back: 1, answered: 1, delivered: 1, ..none };
        assert_eq!(counted(Origin::AliasedQp0, Exit::Consumer, true, &RESPONSE), answered);
        let dropped = Qp0Counters { looped_back: 1, ..none };
        assert_eq!(counted(Origin::AliasedQp0, Exit::Inside, true, &REQUEST), dropped);
    }
}
