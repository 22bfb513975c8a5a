//! Bounds of a request on an MTU or a rate (IBA vol. 1, 15.2.5.16, 15.2.5.17).

use iba::attr::Mtu;
use iba::sa::{SaMad, Selector};

use super::rate::Rate;

/// A bound, if the request names one. What is measured is 0 where it means nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound(Option<(Selector, u16)>);

impl Bound {
    /// The bound of an MTU's code; `component` is the selector's, and the one behind it the code's.
    pub(super) fn of_mtu(request: &SaMad, component: u32, selector: Selector, code: u8) -> Self {
        Self::of(request, component, selector, mtu(code))
    }

    /// As [`Bound::of_mtu`], of a rate's code.
    pub(super) fn of_rate(request: &SaMad, component: u32, selector: Selector, code: u8) -> Self {
        Self::of(request, component, selector, Rate(code).double_gbps())
    }

    fn of(request: &SaMad, component: u32, selector: Selector, value: u16) -> Self {
        let selector = if request.has(component) { selector } else { Selector::EXACTLY };
        Self(request.has(component + 1).then_some((selector, value)))
    }

    /// Returns `true` if this code of an MTU is within the bound.
    pub(super) fn allows_mtu(self, code: u8) -> bool {
        self.allows(mtu(code))
    }

    /// Returns `true` if this code of a rate is within the bound.
    pub(super) fn allows_rate(self, code: u8) -> bool {
        self.allows(Rate(code).double_gbps())
    }

    /// The code of the best MTU that keeps it and is no more than `most`.
    pub(super) fn best_mtu(self, most: Mtu) -> Option<u8> {
        (1..=most.get()).rev().find(|&code| self.allows_mtu(code))
    }

    /// The code of the best rate that keeps it and is no more than `most`.
    pub(super) fn best_rate(self, most: Rate) -> Option<u8> {
        let known = Rate::all().filter(|rate| rate.double_gbps() <= most.double_gbps());
        known.filter(|rate| self.allows_rate(rate.0)).max_by_key(|rate| rate.double_gbps()).map(|rate| rate.0)
    }

    fn allows(self, value: u16) -> bool {
        match self.0 {
            None | Some((Selector::BEST, _)) => true,
            Some((_, 0)) => false,
            Some((Selector::GREATER, bound)) => value > bound,
            Some((Selector::LESS, bound)) => value < bound,
            Some((_, bound)) => value == bound,
        }
    }
}

/// An MTU's code, if there is such an MTU.
fn mtu(code: u8) -> u16 {
    if (Mtu::B256.get()..=Mtu::B4096.get()).contains(&code) { code.into() } else { 0 }
}
