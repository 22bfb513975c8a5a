//! A port's link, as the driver follows it: states that the device shows, requests that the driver makes.

use hca_contract::{LinkRequest, LinkState, port};

use crate::fault::Fault;
use crate::hca::Port;

/// Width and speed of a link that is up, as PortInfo gives them (IBA vol. 1, 14.2.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// LinkWidthActive: 1 = 1X, 2 = 4X, 4 = 8X, 8 = 12X, 16 = 2X.
    pub width: u8,
    /// LinkSpeedActive: 1 = 2.5, 2 = 5, 4 = 10 Gb/s a lane; 0 = an extended speed only.
    pub speed: u8,
    /// LinkSpeedExtActive: 0 = none, 1 = 14.0625, 2 = 25.78125, 4 = 53.125, 8 = 106.25 Gb/s a lane.
    pub speed_ext: u8,
}

/// A change of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Up(Rate),
    Down,
}

/// What was told of a port's link, and asked of it, in this life of the device.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// The epoch of the link that was told to be up.
    up: Option<u32>,
    /// The last request's sequence number.
    asked: u32,
    /// A request that waits until the device has done the one before, so that none is lost.
    next: Option<LinkRequest>,
    /// The last request that the caller made, which outlives the device.
    wanted: Option<LinkRequest>,
}

impl Link {
    /// Looks at the device's link word, and says what is to be told of it. To be asked again until it says nothing.
    pub(crate) fn observe(&mut self, port: Port, word: u64) -> Result<Option<Change>, Fault> {
        let [state, width, speed, speed_ext, ..] = word.to_le_bytes();
        let epoch = (word >> port::LINK_EPOCH_SHIFT) as u32;
        const UP: u8 = LinkState::Up as u8;
        const POLLING: u8 = LinkState::Polling as u8;
        const DISABLED: u8 = LinkState::Disabled as u8;
        match (state, self.up) {
            (UP, Some(told)) if told == epoch => Ok(None),
            (UP | POLLING | DISABLED, Some(_)) => Ok(self.down()),
            (UP, None) => {
                let rate = Rate { width, speed, speed_ext };
                if !rate.exists() {
                    return Err(Fault::BadLinkRate { port, width, speed, speed_ext });
                }
                self.up = Some(epoch);
                Ok(Some(Change::Up(rate)))
            }
            (POLLING | DISABLED, None) => Ok(None),
            _ => Err(Fault::BadLinkState { port, state }),
        }
    }

    /// The link is no more; says what is to be told of it.
    pub(crate) fn down(&mut self) -> Option<Change> {
        self.up.take().map(|_| Change::Down)
    }

    /// Takes a request of the caller's.
    pub(crate) fn want(&mut self, request: LinkRequest) {
        self.wanted = Some(request);
        self.next = Some(request);
    }

    /// Looks at what the device has done, and says what is to be written to LINK_REQUEST, if anything.
    pub(crate) fn request(&mut self, port: Port, done: u32) -> Result<Option<u64>, Fault> {
        if done == self.asked {
            let Some(request) = self.next.take() else { return Ok(None) };
            self.asked = self.asked.wrapping_add(1).max(1);
            return Ok(Some(u64::from(self.asked) << port::LINK_REQUEST_SEQ_SHIFT | request as u64));
        }
        // While a request is under way the device still shows the one before it.
        if done == self.asked.wrapping_sub(1) || (self.asked == 1 && done == u32::MAX) {
            return Ok(None);
        }
        Err(Fault::BadLinkRequestDone { port, asked: self.asked, done })
    }

    /// A new life of the device begins. It looks for its peer by itself; a link that was to be held down still is.
    pub(crate) fn begin(&mut self) {
        *self = Self {
            next: self.wanted.filter(|&wanted| wanted == LinkRequest::Disable),
            wanted: self.wanted,
            ..Self::default()
        };
    }
}

impl Rate {
    fn exists(self) -> bool {
        let one_of = |value: u8, largest: u8| value.is_power_of_two() && value <= largest;
        let speed = self.speed == 0 || one_of(self.speed, 4);
        let speed_ext = self.speed_ext == 0 || one_of(self.speed_ext, 8);
        one_of(self.width, 16) && speed && speed_ext && (self.speed, self.speed_ext) != (0, 0)
    }
}

const _: () = {
    // `observe` takes the word apart by bytes.
    assert!(port::LINK_WIDTH_SHIFT == 8 && port::LINK_SPEED_SHIFT == 16 && port::LINK_SPEED_EXT_SHIFT == 24);
};
