//! A port's link as the driver follows it: states that the device shows, requests that the driver makes.

use hca_contract::{LinkRequest, LinkState, port};

use crate::fault::Fault;
use crate::port::Port;

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

/// Change of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkChange {
    Up(Rate),
    Down,
}

/// Reported state of a port's link, and its requests, in this generation of the device.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Epoch of the link that was reported to be up.
    up: Option<u32>,
    /// Sequence number of the last request that was made.
    sequence: u32,
    /// Request that waits until the device has done the one before, so that none is lost.
    next: Option<LinkRequest>,
    /// Last request of the caller. It outlives the generation.
    wanted: Option<LinkRequest>,
}

impl Link {
    /// Compares the device's link word with the reported state, and returns the next change to report. Call it until it
    /// returns `None`.
    pub(crate) fn observe(&mut self, port: Port, word: u64) -> Result<Option<LinkChange>, Fault> {
        let [state, width, speed, speed_ext, ..] = word.to_le_bytes();
        let epoch = (word >> port::LINK_EPOCH_SHIFT) as u32;
        const UP: u8 = LinkState::Up as u8;
        const POLLING: u8 = LinkState::Polling as u8;
        const DISABLED: u8 = LinkState::Disabled as u8;
        match (state, self.up) {
            (UP, Some(reported)) if reported == epoch => Ok(None),
            (UP | POLLING | DISABLED, Some(_)) => Ok(self.take_down()),
            (UP, None) => {
                let rate = Rate { width, speed, speed_ext };
                if !rate.is_valid() {
                    return Err(Fault::BadLinkRate { port, width, speed, speed_ext });
                }
                self.up = Some(epoch);
                Ok(Some(LinkChange::Up(rate)))
            }
            (POLLING | DISABLED, None) => Ok(None),
            _ => Err(Fault::BadLinkState { port, state }),
        }
    }

    /// Marks the link as down, and returns the change to report, if it was up.
    pub(crate) fn take_down(&mut self) -> Option<LinkChange> {
        self.up.take().map(|_| LinkChange::Down)
    }

    /// Queues a request of the caller. It replaces one that waits.
    pub(crate) fn request(&mut self, request: LinkRequest) {
        self.wanted = Some(request);
        self.next = Some(request);
    }

    /// Checks the sequence number that the device has `done`, and returns the word to write to LINK_REQUEST, if a
    /// request waits and the one before is done.
    pub(crate) fn next_request(&mut self, port: Port, done: u32) -> Result<Option<u64>, Fault> {
        if done == self.sequence {
            let Some(request) = self.next.take() else { return Ok(None) };
            self.sequence = self.sequence.wrapping_add(1).max(1);
            return Ok(Some(u64::from(self.sequence) << port::LINK_REQUEST_SEQ_SHIFT | request as u64));
        }
        // While a request is under way the device still shows the one before it.
        if done == self.sequence.wrapping_sub(1) || (self.sequence == 1 && done == u32::MAX) {
            return Ok(None);
        }
        Err(Fault::BadLinkRequestDone { port, made: self.sequence, done })
    }

    /// Resets the link for a new generation. The device looks for its peer by itself; a link that the caller disabled
    /// is disabled again.
    pub(crate) fn reset(&mut self) {
        *self = Self {
            next: self.wanted.filter(|&wanted| wanted == LinkRequest::Disable),
            wanted: self.wanted,
            ..Self::default()
        };
    }
}

impl Rate {
    /// Returns `true` if width and speeds are values of the IBA.
    fn is_valid(self) -> bool {
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
