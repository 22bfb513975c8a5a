//! The link machine of one end of a cable: when a link comes up, with which width and speed, and when it goes down.
//!
//! Each end announces its readiness to the other ([`Announcement`]). An end counts its training epochs: a new one
//! begins whenever its link goes down or its readiness changes. A link is up as long as both ends poll, have a width
//! and a speed in common, and each has heard the other's present epoch. So a link that goes down at one end goes down
//! at the other, however short the time, and no packet from before a training counts as one from after it. Messages
//! must arrive in order or not at all; a later announcement replaces an earlier one that was not sent.

/// Widths and speeds of an end, each a bit mask as in PortInfo (IBA vol. 1, 14.2.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// As LinkWidthEnabled: 1 = 1X, 2 = 4X, 4 = 8X, 8 = 12X, 16 = 2X.
    pub widths: u8,
    /// As LinkSpeedEnabled: 1 = 2.5, 2 = 5, 4 = 10 Gb/s a lane.
    pub speeds: u8,
    /// As LinkSpeedExtEnabled: 1 = 14 (FDR), 2 = 25 (EDR), 4 = 50 (HDR), 8 = 100 Gb/s a lane (NDR).
    pub speeds_ext: u8,
}

impl Abilities {
    /// Returns the best link between ends of these abilities; `None` if they have no width or no speed in common.
    #[must_use]
    pub const fn common(self, other: Self) -> Option<Link> {
        let width = widest(self.widths & other.widths);
        let speed = highest(self.speeds & other.speeds & 0x7);
        let speed_ext = highest(self.speeds_ext & other.speeds_ext & 0xf);
        if width == 0 || (speed == 0 && speed_ext == 0) { None } else { Some(Link { width, speed, speed_ext }) }
    }
}

impl Default for Abilities {
    /// Returns widths up to 4X, and all speeds up to EDR.
    fn default() -> Self {
        Self { widths: 0x3, speeds: 0x7, speeds_ext: 0x3 }
    }
}

/// A trained link: one bit each, as in PortInfo's LinkWidthActive, LinkSpeedActive and LinkSpeedExtActive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// One of the bits of [`Abilities::widths`].
    pub width: u8,
    /// One of the bits of [`Abilities::speeds`], or 0 where the ends share an extended speed only.
    pub speed: u8,
    /// One of the bits of [`Abilities::speeds_ext`], or 0: then [`Link::speed`] is the speed.
    pub speed_ext: u8,
}

/// Returns the highest bit of `mask`.
const fn highest(mask: u8) -> u8 {
    if mask == 0 { 0 } else { 0x80 >> mask.leading_zeros() }
}

/// Returns the bit of the greatest width; 2X (bit 4) lies between 1X (bit 0) and 4X (bit 1).
const fn widest(mask: u8) -> u8 {
    if mask & 0xe != 0 { highest(mask & 0xe) } else { highest(mask & 0x11) }
}

/// An end's state as it announces it to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// `true` if the end looks for a peer, `false` if it is held down.
    pub polling: bool,
    /// Abilities of the end in this epoch.
    pub abilities: Abilities,
    /// Present epoch of the end.
    pub epoch: u32,
    /// Last epoch heard from the other end; 0 = none.
    pub heard: u32,
}

/// State of one end of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Held down at this end.
    Disabled,
    /// Looking for a peer.
    Polling,
    /// Connected.
    Up(Link),
}

/// Change of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// The link is up. The present announcement goes to the other end before any packet.
    Up(Link),
    /// The link is down.
    Down,
}

/// Link machine of one end of a cable. The caller sends [`LinkMachine::announcement`] to the other end whenever it
/// differs from the last one sent.
#[derive(Clone, Debug)]
pub struct LinkMachine {
    polling: bool,
    abilities: Abilities,
    /// Abilities for the next epoch.
    next: Abilities,
    epoch: u32,
    peer: Option<Announcement>,
    link: Option<Link>,
}

impl LinkMachine {
    /// Creates an end that polls, without a peer.
    #[must_use]
    pub const fn new(abilities: Abilities) -> Self {
        Self { polling: true, abilities, next: abilities, epoch: 1, peer: None, link: None }
    }

    /// Returns the end's state.
    #[must_use]
    pub const fn state(&self) -> LinkState {
        match self.link {
            Some(link) => LinkState::Up(link),
            None if self.polling => LinkState::Polling,
            None => LinkState::Disabled,
        }
    }

    /// Returns the announcement of the present state.
    #[must_use]
    pub fn announcement(&self) -> Announcement {
        Announcement {
            polling: self.polling,
            abilities: self.abilities,
            epoch: self.epoch,
            heard: self.peer.map_or(0, |peer| peer.epoch),
        }
    }

    /// Holds the link down until [`LinkMachine::enable`] or [`LinkMachine::retrain`].
    pub fn disable(&mut self) -> Option<LinkChange> {
        self.restart(false)
    }

    /// Looks for a peer; a link that is up stays as it is.
    pub fn enable(&mut self) {
        if !self.polling {
            self.restart(true);
        }
    }

    /// Goes down and looks for the peer again.
    pub fn retrain(&mut self) -> Option<LinkChange> {
        self.restart(true)
    }

    /// Changes the end's abilities: at once if it has no link, else at the next training.
    pub fn set_abilities(&mut self, abilities: Abilities) {
        self.next = abilities;
        if self.link.is_none() && self.abilities != abilities {
            self.restart(self.polling);
        }
    }

    /// Forgets the peer, because the cable is unplugged.
    pub fn unplugged(&mut self) -> Option<LinkChange> {
        self.peer = None;
        self.link.and_then(|_| self.restart(self.polling))
    }

    /// Takes an announcement of the other end.
    pub fn hear(&mut self, peer: Announcement) -> Option<LinkChange> {
        let same_epoch = self.peer.is_some_and(|before| before.epoch == peer.epoch);
        self.peer = Some(peer);
        if self.link.is_some() && !(same_epoch && peer.polling) {
            return self.restart(self.polling);
        }
        if self.link.is_none() && self.polling && peer.polling && peer.heard == self.epoch {
            self.link = self.abilities.common(peer.abilities);
            return self.link.map(LinkChange::Up);
        }
        None
    }

    /// Begins a new epoch. The peer has not heard of it, so the link is down.
    fn restart(&mut self, polling: bool) -> Option<LinkChange> {
        self.polling = polling;
        self.abilities = self.next;
        self.epoch = self.epoch.wrapping_add(1).max(1);
        self.link.take().map(|_| LinkChange::Down)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Two ends, with the announcements on their way between them.
    struct Pair {
        ends: [LinkMachine; 2],
        announced: [Option<Announcement>; 2],
        wires: [VecDeque<Announcement>; 2],
    }

    impl Pair {
        fn new(a: Abilities, b: Abilities) -> Self {
            Self { ends: [LinkMachine::new(a), LinkMachine::new(b)], announced: [None; 2], wires: Default::default() }
        }

        fn announce(&mut self, end: usize) {
            let now = Some(self.ends[end].announcement());
            if self.announced[end] != now {
                self.announced[end] = now;
                self.wires[end].extend(now);
            }
        }

        fn carry(&mut self, from: usize) -> Option<LinkChange> {
            let message = self.wires[from].pop_front()?;
            let change = self.ends[1 - from].hear(message);
            self.announce(1 - from);
            change
        }

        fn settle(&mut self) -> Vec<LinkChange> {
            self.announce(0);
            self.announce(1);
            let mut changes = Vec::new();
            for round in 0.. {
                assert!(round < 20, "the ends do not settle: {:?}", self.ends);
                if self.wires.iter().all(VecDeque::is_empty) {
                    break;
                }
                changes.extend(self.carry(0));
                changes.extend(self.carry(1));
            }
            changes
        }

        fn states(&self) -> [LinkState; 2] {
            [self.ends[0].state(), self.ends[1].state()]
        }
    }

    const EDR_4X: Link = Link { width: 2, speed: 4, speed_ext: 2 };

    #[test]
    fn polling_ends_come_up_once_with_the_best_common_link() {
        let mut pair = Pair::new(Abilities::default(), Abilities { widths: 0x1f, speeds: 0x7, speeds_ext: 0xf });
        assert_eq!(pair.settle(), [LinkChange::Up(EDR_4X); 2]);
        assert_eq!(pair.states(), [LinkState::Up(EDR_4X); 2]);
    }

    #[test]
    fn width_2x_lies_between_1x_and_4x() {
        let ends = |widths| Abilities { widths, speeds: 1, speeds_ext: 0 };
        for (mask, best) in [(0x11, 0x10), (0x13, 0x02), (0x1f, 0x08), (0x01, 0x01)] {
            assert_eq!(ends(mask).common(ends(mask)).map(|link| link.width), Some(best));
        }
    }

    #[test]
    fn ends_without_a_common_width_or_speed_stay_down() {
        let x12 = Abilities { widths: 8, ..Abilities::default() };
        let slow = Abilities { speeds: 1, speeds_ext: 0, ..Abilities::default() };
        let fast = Abilities { speeds: 4, speeds_ext: 0, ..Abilities::default() };
        for (a, b) in [(x12, Abilities::default()), (slow, fast)] {
            let mut pair = Pair::new(a, b);
            assert_eq!(pair.settle(), []);
            assert_eq!(pair.states(), [LinkState::Polling; 2]);
        }
    }

    #[test]
    fn retrain_is_seen_at_both_ends() {
        let mut pair = Pair::new(Abilities::default(), Abilities::default());
        pair.settle();
        assert_eq!(pair.ends[0].retrain(), Some(LinkChange::Down));
        assert_eq!(pair.settle(), [LinkChange::Down, LinkChange::Up(EDR_4X), LinkChange::Up(EDR_4X)]);
    }

    #[test]
    fn disabled_end_holds_the_link_down_until_enabled() {
        let mut pair = Pair::new(Abilities::default(), Abilities::default());
        pair.settle();
        assert_eq!(pair.ends[1].disable(), Some(LinkChange::Down));
        assert_eq!(pair.settle(), [LinkChange::Down]);
        assert_eq!(pair.states(), [LinkState::Polling, LinkState::Disabled]);
        pair.ends[1].enable();
        assert_eq!(pair.settle(), [LinkChange::Up(EDR_4X); 2]);
        pair.ends[1].enable();
        assert_eq!(pair.settle(), [], "enabling a link that is up changes nothing");
    }

    #[test]
    fn new_abilities_take_effect_at_the_next_training() {
        let mut pair = Pair::new(Abilities::default(), Abilities::default());
        pair.settle();
        let slow = Abilities { widths: 1, speeds: 1, speeds_ext: 0 };
        pair.ends[0].set_abilities(slow);
        assert_eq!(pair.settle(), []);
        assert_eq!(pair.states(), [LinkState::Up(EDR_4X); 2]);
        pair.ends[1].retrain();
        pair.settle();
        assert_eq!(pair.states(), [LinkState::Up(Link { width: 1, speed: 1, speed_ext: 0 }); 2]);
    }

    #[test]
    fn link_of_an_unplugged_cable_comes_up_with_a_new_peer() {
        let mut pair = Pair::new(Abilities::default(), Abilities::default());
        pair.settle();
        assert_eq!(pair.ends[0].unplugged(), Some(LinkChange::Down));
        assert_eq!(pair.ends[0].unplugged(), None);
        pair.ends[1] = LinkMachine::new(Abilities::default());
        pair.announced = [None; 2];
        assert_eq!(pair.settle(), [LinkChange::Up(EDR_4X); 2]);
    }

    proptest! {
        /// Whatever requests the two ends get, and however their messages cross, they settle, agree, and are up exactly
        /// if both poll.
        #[test]
        fn ends_settle_and_agree(steps in prop::collection::vec((0_usize..2, 0_u8..6), 0..60)) {
            let mut pair = Pair::new(Abilities::default(), Abilities::default());
            let mut polling = [true; 2];
            for (end, step) in steps {
                match step {
                    0 => { pair.ends[end].disable(); polling[end] = false; }
                    1 => { pair.ends[end].enable(); polling[end] = true; }
                    2 => { pair.ends[end].retrain(); polling[end] = true; }
                    3 => pair.announce(end),
                    _ => { pair.carry(end); }
                }
            }
            pair.settle();
            let up = polling == [true; 2];
            let expected = polling.map(|polling| match polling {
                _ if up => LinkState::Up(EDR_4X),
                true => LinkState::Polling,
                false => LinkState::Disabled,
            });
            prop_assert_eq!(pair.states(), expected);
        }
    }
}
