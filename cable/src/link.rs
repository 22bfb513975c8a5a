//! The link machine of one end of a cable: when a link comes up, with which width and speed, and when it goes down.
//!
//! Each end tells the other what it is ready for ([`Announcement`]). An end counts its training epochs: a new one
//! begins whenever its link goes down or its readiness changes. A link is up as long as both ends poll, have a width
//! and a speed in common, and each has heard the other's present epoch. So a link that goes down at one end goes down
//! at the other, however briefly it was down, and nothing that was sent before training is taken for what came after.
//! The messages have to arrive in order or not at all; a later announcement replaces an earlier one that was not sent.

/// What an end is ready to train to, each a bit mask as in PortInfo (IBA vol. 1, 14.2.5.6).
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
    /// The best link between ends of these abilities; `None` where they have no width or no speed in common.
    #[must_use]
    pub const fn common(self, other: Self) -> Option<Link> {
        let width = widest(self.widths & other.widths);
        let speed = highest(self.speeds & other.speeds & 0x7);
        let speed_ext = highest(self.speeds_ext & other.speeds_ext & 0xf);
        if width == 0 || (speed == 0 && speed_ext == 0) { None } else { Some(Link { width, speed, speed_ext }) }
    }
}

impl Default for Abilities {
    /// Widths up to 4X, every speed up to EDR.
    fn default() -> Self {
        Self { widths: 0x3, speeds: 0x7, speeds_ext: 0x3 }
    }
}

/// A trained link, each with one bit as in PortInfo's LinkWidthActive, LinkSpeedActive and LinkSpeedExtActive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// One of the bits of [`Abilities::widths`].
    pub width: u8,
    /// One of the bits of [`Abilities::speeds`], or 0 where the ends share an extended speed only.
    pub speed: u8,
    /// One of the bits of [`Abilities::speeds_ext`], or 0: then [`Link::speed`] is the speed.
    pub speed_ext: u8,
}

const fn highest(mask: u8) -> u8 {
    if mask == 0 { 0 } else { 0x80 >> mask.leading_zeros() }
}

/// The bit of the widest; 2X (bit 4) came late and lies between 1X (bit 0) and 4X (bit 1).
const fn widest(mask: u8) -> u8 {
    if mask & 0xe != 0 { highest(mask & 0xe) } else { highest(mask & 0x11) }
}

/// What an end says of itself to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// `false`: held down.
    pub polling: bool,
    /// What the end can train to in this epoch.
    pub abilities: Abilities,
    /// The end's present epoch.
    pub epoch: u32,
    /// The other end's epoch as it was last heard, 0 if never.
    pub heard: u32,
}

/// State of one end of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Held down at this end.
    Disabled,
    /// Looking for a peer.
    Polling,
    /// There is a link.
    Up(Link),
}

/// A link came up or went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// The other end has to have the present announcement before any packet.
    Up(Link),
    /// The link is down.
    Down,
}

/// One end of a cable. Whoever drives it sends [`LinkMachine::announcement`] to the other end whenever that differs
/// from what was sent last.
#[derive(Clone, Debug)]
pub struct LinkMachine {
    polling: bool,
    abilities: Abilities,
    /// What the next epoch begins with.
    wanted: Abilities,
    epoch: u32,
    peer: Option<Announcement>,
    link: Option<Link>,
}

impl LinkMachine {
    /// An end that polls, without a peer.
    #[must_use]
    pub const fn new(abilities: Abilities) -> Self {
        Self { polling: true, abilities, wanted: abilities, epoch: 1, peer: None, link: None }
    }

    /// The end's state.
    #[must_use]
    pub const fn state(&self) -> LinkState {
        match self.link {
            Some(link) => LinkState::Up(link),
            None if self.polling => LinkState::Polling,
            None => LinkState::Disabled,
        }
    }

    /// What the other end has to know.
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

    /// Changes what the end can train to: at once where it has no link, else when it trains again.
    pub fn set_abilities(&mut self, abilities: Abilities) {
        self.wanted = abilities;
        if self.link.is_none() && self.abilities != abilities {
            self.restart(self.polling);
        }
    }

    /// The cable was pulled.
    pub fn unplugged(&mut self) -> Option<LinkChange> {
        self.peer = None;
        self.link.and_then(|_| self.restart(self.polling))
    }

    /// The other end announced itself.
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

    /// Begins a new epoch. The peer cannot have heard of it, so there is no link yet.
    fn restart(&mut self, polling: bool) -> Option<LinkChange> {
        self.polling = polling;
        self.abilities = self.wanted;
        self.epoch = self.epoch.wrapping_add(1).max(1);
        self.link.take().map(|_| LinkChange::Down)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Two ends with the announcements that are on their way between them.
    struct Pair {
        ends: [LinkMachine; 2],
        told: [Option<Announcement>; 2],
        wires: [VecDeque<Announcement>; 2],
    }

    impl Pair {
        fn new(a: Abilities, b: Abilities) -> Self {
            Self { ends: [LinkMachine::new(a), LinkMachine::new(b)], told: [None; 2], wires: Default::default() }
        }

        fn tell(&mut self, end: usize) {
            let now = Some(self.ends[end].announcement());
            if self.told[end] != now {
                self.told[end] = now;
                self.wires[end].extend(now);
            }
        }

        fn carry(&mut self, from: usize) -> Option<LinkChange> {
            let message = self.wires[from].pop_front()?;
            let change = self.ends[1 - from].hear(message);
            self.tell(1 - from);
            change
        }

        fn settle(&mut self) -> Vec<LinkChange> {
            self.tell(0);
            self.tell(1);
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
    fn two_polling_ends_come_up_once_with_the_best_common_link() {
        let mut pair = Pair::new(Abilities::default(), Abilities { widths: 0x1f, speeds: 0x7, speeds_ext: 0xf });
        assert_eq!(pair.settle(), [LinkChange::Up(EDR_4X); 2]);
        assert_eq!(pair.states(), [LinkState::Up(EDR_4X); 2]);
    }

    #[test]
    fn two_x_lies_between_one_and_four_x() {
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
    fn a_retrain_is_seen_at_both_ends() {
        let mut pair = Pair::new(Abilities::default(), Abilities::default());
        pair.settle();
        assert_eq!(pair.ends[0].retrain(), Some(LinkChange::Down));
        assert_eq!(pair.settle(), [LinkChange::Down, LinkChange::Up(EDR_4X), LinkChange::Up(EDR_4X)]);
    }

    #[test]
    fn a_disabled_end_holds_the_link_down_and_enable_brings_it_back() {
        let mut pair = Pair::new(Abilities::default(), Abilities::default());
        pair.settle();
        assert_eq!(pair.ends[1].disable(), Some(LinkChange::Down));
        assert_eq!(pair.settle(), [LinkChange::Down]);
        assert_eq!(pair.states(), [LinkState::Polling, LinkState::Disabled]);
        pair.ends[1].enable();
        assert_eq!(pair.settle(), [LinkChange::Up(EDR_4X); 2]);
        pair.ends[1].enable();
        assert_eq!(pair.settle(), [], "to enable a link that is up changes nothing");
    }

    #[test]
    fn new_abilities_count_from_the_next_training() {
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
    fn a_pulled_cable_takes_the_link_down_and_a_new_peer_brings_it_up() {
        let mut pair = Pair::new(Abilities::default(), Abilities::default());
        pair.settle();
        assert_eq!(pair.ends[0].unplugged(), Some(LinkChange::Down));
        assert_eq!(pair.ends[0].unplugged(), None);
        pair.ends[1] = LinkMachine::new(Abilities::default());
        pair.told = [None; 2];
        assert_eq!(pair.settle(), [LinkChange::Up(EDR_4X); 2]);
    }

    proptest! {
        /// Whatever is asked of the two ends, and however their messages cross: they settle, they agree, and they are
        /// up exactly if both poll.
        #[test]
        fn ends_settle_and_agree(steps in prop::collection::vec((0_usize..2, 0_u8..6), 0..60)) {
            let mut pair = Pair::new(Abilities::default(), Abilities::default());
            let mut polling = [true; 2];
            for (end, step) in steps {
                match step {
                    0 => { pair.ends[end].disable(); polling[end] = false; }
                    1 => { pair.ends[end].enable(); polling[end] = true; }
                    2 => { pair.ends[end].retrain(); polling[end] = true; }
                    3 => pair.tell(end),
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
