//! Enforces the policy of an aliased queue pair 0.

use iba::PortNum;
use iba::mad::Method;
use partition_table::{Policy, Qp0Policy};
use subnet::Time;

use crate::limits::PORTS;

/// Judges what goes out of one aliased queue pair 0.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) policy: Policy,
    smps: Bucket,
    /// By port.
    traps: [Bucket; PORTS],
}

impl Gate {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, smps: Bucket::default(), traps: Default::default() }
    }

    /// Returns `true` if a management packet with this method may leave now by `port`.
    pub(crate) fn admits(&mut self, now: Time, port: PortNum, method: Method) -> bool {
        let Policy { qp0, smps_per_second, traps_per_second, .. } = self.policy;
        let Some(traps) = self.traps.get_mut(usize::from(port.get()).wrapping_sub(1)) else { return false };
        allows(qp0, method)
            && match method {
                Method::TRAP => traps.take(now, traps_per_second),
                _ => self.smps.take(now, smps_per_second),
            }
    }
}

/// Returns `true` if a queue pair 0 with this policy may send an SMP with `method`.
fn allows(qp0: Qp0Policy, method: Method) -> bool {
    match qp0 {
        Qp0Policy::Closed => false,
        Qp0Policy::Query => method == Method::GET,
        Qp0Policy::Manager => true,
    }
}

const SECOND: u64 = 1_000_000_000;

/// A rate limit that lets a second's worth through at once.
#[derive(Debug, Default)]
struct Bucket {
    /// By when all that was taken has been paid for, at the rate.
    paid: Time,
}

impl Bucket {
    fn take(&mut self, now: Time, per_second: u32) -> bool {
        let Some(price) = SECOND.checked_div(per_second.into()) else { return false };
        let paid = self.paid.max(now).0.saturating_add(price);
        let admitted = paid <= now.0.saturating_add(SECOND);
        if admitted {
            self.paid = Time(paid);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(qp0: Qp0Policy) -> Gate {
        Gate::new(Policy { qp0, smps_per_second: 10, traps_per_second: 2, ..Policy::default() })
    }

    const PORT: PortNum = PortNum::new(1);

    #[test]
    fn each_policy_lets_through_what_it_says() {
        let methods = [Method::GET, Method::SET, Method::GET_RESP, Method::TRAP, Method::REPORT];
        for (qp0, expected) in [(Qp0Policy::Closed, [false; 5]), (Qp0Policy::Manager, [true; 5])] {
            assert_eq!(methods.map(|method| gate(qp0).admits(Time(0), PORT, method)), expected);
        }
        let query = methods.map(|method| gate(Qp0Policy::Query).admits(Time(0), PORT, method));
        assert_eq!(query, [true, false, false, false, false]);
    }

    #[test]
    fn a_flood_is_held_to_its_rate() {
        let mut gate = gate(Qp0Policy::Manager);
        let mut admitted = [0, 0];
        for millisecond in 0..10_000 {
            for (count, method) in admitted.iter_mut().zip([Method::GET, Method::TRAP]) {
                *count += u32::from(gate.admits(Time(millisecond * 1_000_000), PORT, method));
            }
        }
        assert_eq!(admitted, [10 * 10 + 9, 2 * 10 + 1], "a second's worth at once, then the rate");
        assert!(!Bucket::default().take(Time(5), 0));
        let [second, third] = [2, 3].map(PortNum::new);
        assert!(gate.admits(Time(9_999_000_000), second, Method::TRAP), "each port has traps of its own");
        assert!(!gate.admits(Time(9_999_000_000), second, Method::GET), "and shares the rest");
        assert!(!gate.admits(Time(99_000_000_000), third, Method::TRAP), "the port does not exist");
    }
}
