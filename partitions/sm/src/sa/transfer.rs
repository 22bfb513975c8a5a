//! A table on its way: its segments, the window that the receiver opens, and repeats (IBA vol. 1, 13.6).

use alloc::vec::Vec;
use core::time::Duration;

use iba::rmpp::{RmppHeader, RmppMad, RmppStatus, RmppType};
use iba::sa::SaMad;
use zerocopy::transmute_ref;

use crate::outlet::{Address, Outlet};

/// Bytes behind the RMPP header that a segment counts as its payload: the class's own header, and records.
const PAYLOAD: usize = size_of::<RmppMad>() - core::mem::offset_of!(RmppMad, payload);

/// Timeout of an acknowledgement, and number of repetitions.
const TIMEOUT: Duration = Duration::from_millis(500);
const RETRIES: u32 = 5;

/// As many segments go out behind the last one that is acknowledged at most, however wide the receiver's window is. It
/// is no less than what receivers open, for some acknowledge a window's last segment only.
const MAX_WINDOW: u32 = 96;

/// A table that is being sent.
#[derive(Debug)]
pub(crate) struct Transfer {
    to: Address,
    /// The headers that all segments have.
    head: SaMad,
    data: Vec<u8>,
    /// Number of segments.
    count: u32,
    /// The last segment that was sent, that was acknowledged, and that may be sent.
    sent: u32,
    acknowledged: u32,
    window: u32,
    deadline: Duration,
    repeats: u32,
}

impl Transfer {
    /// Begins with the first segment.
    pub(crate) fn begin(now: Duration, to: &Address, head: SaMad, data: Vec<u8>, out: &mut impl Outlet) -> Self {
        let count = u32::try_from(data.len().div_ceil(SaMad::DATA).max(1)).unwrap_or(u32::MAX);
        let deadline = now + TIMEOUT;
        let mut transfer =
            Self { to: *to, head, data, count, sent: 0, acknowledged: 0, window: 1, deadline, repeats: 0 };
        transfer.send(now, out);
        transfer
    }

    /// Returns `true` if `mad` of `from` belongs to this transfer.
    pub(crate) fn is_of(&self, from: &Address, mad: &SaMad) -> bool {
        (self.to.lid, self.to.qp, self.head.header.transaction_id) == (from.lid, from.qp, mad.header.transaction_id)
    }

    /// Returns the size of the table, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Takes what the receiver says; true if that ends the transfer.
    pub(crate) fn take(&mut self, now: Duration, rmpp: &RmppHeader, out: &mut impl Outlet) -> bool {
        if rmpp.kind != RmppType::ACK {
            return true; // it stops, or aborts
        }
        let (segment, window) = (rmpp.segment.get(), rmpp.length_or_window.get());
        if segment > self.sent || segment < self.acknowledged {
            return false;
        }
        self.window = self.window.max(window);
        if segment > self.acknowledged {
            self.repeats = 0;
        }
        self.acknowledged = segment;
        self.send(now, out);
        segment == self.count
    }

    /// Sends again from behind the last acknowledged segment, if it is time; false if that was done often enough.
    pub(crate) fn expire(&mut self, now: Duration, out: &mut impl Outlet) -> bool {
        if now < self.deadline {
            return true;
        }
        self.repeats += 1;
        self.sent = self.acknowledged;
        if self.repeats <= RETRIES {
            self.send(now, out);
        }
        self.repeats <= RETRIES
    }

    /// Sends what the window has room for.
    fn send(&mut self, now: Duration, out: &mut impl Outlet) {
        let last = self.window.min(self.acknowledged.saturating_add(MAX_WINDOW)).min(self.count);
        while self.sent < last {
            self.sent += 1;
            let segment = self.segment(self.sent);
            out.send(&self.to, transmute_ref!(&segment));
        }
        self.deadline = now + TIMEOUT;
    }

    /// Segment `number`, from 1.
    fn segment(&self, number: u32) -> SaMad {
        let mut mad = self.head;
        let start = (number as usize - 1) * SaMad::DATA;
        let end = self.data.len().min(start + SaMad::DATA);
        mad.data[..end - start].copy_from_slice(&self.data[start..end]);
        let unused = self.count as usize * SaMad::DATA - self.data.len();
        let payload = match (number == 1, number == self.count) {
            (true, _) => self.count as usize * PAYLOAD - unused,
            (false, true) => PAYLOAD - unused,
            (false, false) => 0,
        };
        (mad.rmpp.version, mad.rmpp.kind, mad.rmpp.status) = (RmppHeader::VERSION, RmppType::DATA, RmppStatus::NORMAL);
        mad.rmpp.set_active(true);
        mad.rmpp.set_first(number == 1);
        mad.rmpp.set_last(number == self.count);
        mad.rmpp.segment = number.into();
        mad.rmpp.length_or_window = u32::try_from(payload).unwrap_or(0).into();
        mad
    }
}
