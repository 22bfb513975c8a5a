//! Slots: the numbers by which the protocol names clients.

/// Number of an attached client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Slot(u8);

impl Slot {
    /// Clients that can be attached at a time.
    pub(super) const COUNT: usize = LAST as usize + 1;

    /// Returns the slot of a client's number; `None` if no client can have it.
    pub(super) fn new(number: u32) -> Option<Self> {
        u8::try_from(number).ok().filter(|&number| number <= LAST).map(Self)
    }

    /// Returns all slots, in order.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..=LAST).map(Self)
    }

    /// Returns the client's number in the protocol.
    pub(super) fn number(self) -> u32 {
        self.0.into()
    }

    /// Returns the client's number.
    pub(super) fn get(self) -> u8 {
        self.0
    }

    /// Returns the position of the slot in an array of [`Slot::COUNT`].
    pub(super) fn index(self) -> usize {
        self.0.into()
    }
}

const LAST: u8 = 127;
