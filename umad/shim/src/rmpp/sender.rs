//! The sending side: segments, and the window that the receiver opens.

use iba::rmpp::{RmppHeader, RmppMad, RmppStatus, RmppType};

use super::{PAYLOAD, RMPP_OFFSET};

/// Message that leaves segment by segment.
#[derive(Debug)]
pub(crate) struct Sender {
    /// First segment, as the program wrote it; the others repeat its headers.
    first: RmppMad,
    /// Data of all segments, without headers.
    data: Vec<u8>,
    headers: usize,
    /// Number of segments.
    count: u32,
    /// Last segment sent.
    sent: u32,
    /// Last segment acknowledged.
    acknowledged: u32,
    /// Last segment that may be sent.
    window: u32,
}

/// Result of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No news.
    Stale,
    /// Segments arrived, or the window opened: go on with [`Sender::next`].
    Progress,
    /// All segments arrived.
    Complete,
    /// The acknowledgement breaks the rules: send an ABORT with this status.
    Abort(RmppStatus),
}

impl Sender {
    /// Creates a sender of a message: `headers` bytes of common, RMPP and class header at the front of `first`, which
    /// all segments repeat, and `data`. Returns `None` if the message needs more than 2^32 - 1 segments.
    pub(crate) fn new(first: RmppMad, headers: usize, data: &[u8]) -> Option<Self> {
        let count = data.len().div_ceil(size_of::<RmppMad>() - headers).max(1);
        Some(Self {
            first,
            data: data.to_vec(),
            headers,
            count: count.try_into().ok()?,
            sent: 0,
            acknowledged: 0,
            window: 1,
        })
    }

    /// Returns the next segment that may be sent now.
    pub(crate) fn next(&mut self) -> Option<RmppMad> {
        if self.sent == self.window.min(self.count) {
            return None;
        }
        self.sent += 1;
        Some(self.segment(self.sent))
    }

    /// Takes an acknowledgement of all segments up to `segment`, which allows those up to `window` (IBA vol. 1,
    /// 13.6.3.1).
    pub(crate) fn acknowledge(&mut self, segment: u32, window: u32) -> Outcome {
        if window < segment {
            return Outcome::Abort(RmppStatus::WINDOW_TOO_SMALL);
        }
        if segment > self.window.min(self.count) {
            return Outcome::Abort(RmppStatus::SEGMENT_TOO_BIG);
        }
        if self.is_acknowledged() || segment < self.acknowledged || window < self.window {
            return Outcome::Stale;
        }
        self.acknowledged = segment;
        self.sent = self.sent.max(segment); // it may acknowledge segments from before a rewind
        self.window = window;
        if self.is_acknowledged() { Outcome::Complete } else { Outcome::Progress }
    }

    /// Returns `true` if all segments are acknowledged.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.acknowledged == self.count
    }

    /// Goes back to the first segment that is not acknowledged, because the later ones seem lost.
    pub(crate) fn rewind(&mut self) {
        self.sent = self.acknowledged;
    }

    /// Returns segment `number`, from 1.
    fn segment(&self, number: u32) -> RmppMad {
        let room = size_of::<RmppMad>() - self.headers;
        let start = (number as usize - 1) * room;
        let data = &self.data[start.min(self.data.len())..self.data.len().min(start + room)];
        let unused = self.count as usize * room - self.data.len();
        let is_last = number == self.count;
        let payload = match (number, is_last) {
            (1, _) => self.count as usize * PAYLOAD - unused,
            (_, true) => PAYLOAD - unused,
            _ => 0,
        };
        let mut segment = self.first;
        segment.payload[self.headers - RMPP_OFFSET..].fill(0);
        segment.rmpp.version = RmppHeader::VERSION;
        segment.rmpp.kind = RmppType::DATA;
        segment.rmpp.status = RmppStatus::NORMAL;
        segment.rmpp.set_active(true);
        segment.rmpp.set_first(number == 1);
        segment.rmpp.set_last(is_last);
        segment.rmpp.segment.set(number);
        // A message that is too long for the field has no length in its first segment, which the field allows.
        segment.rmpp.length_or_window.set(payload.try_into().unwrap_or(0));
        let start = self.headers - RMPP_OFFSET;
        segment.payload[start..start + data.len()].copy_from_slice(data);
        segment
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromBytes;

    use super::*;

    const HEADERS: usize = 56;

    fn data(len: usize) -> Vec<u8> {
        (0..=u8::MAX).cycle().skip(3).take(len).collect()
    }

    fn sender(len: usize) -> Sender {
        let first = RmppMad::read_from_bytes(&[0x55; 256]).expect("length");
        Sender::new(first, HEADERS, &data(len)).expect("count fits")
    }

    #[test]
    fn short_message_is_one_segment_first_and_last() {
        let segment = sender(100).next().expect("one segment");
        assert!(segment.rmpp.is_active() && segment.rmpp.is_first() && segment.rmpp.is_last());
        assert_eq!(segment.rmpp.segment.get(), 1);
        assert_eq!(segment.rmpp.length_or_window.get(), 20 + 100); // class header and data
        assert_eq!(segment.payload[20..120], data(100));
        assert_eq!(segment.payload[120..], [0; 100]);
    }

    #[test]
    fn empty_message_is_one_segment() {
        let mut sender = sender(0);
        let segment = sender.next().expect("one segment");
        assert!(segment.rmpp.is_first() && segment.rmpp.is_last());
        assert_eq!(segment.rmpp.length_or_window.get(), 20);
        assert_eq!(sender.next(), None);
    }

    #[test]
    fn payload_lengths_count_the_class_header_of_each_segment() {
        let mut sender = sender(450); // 200 + 200 + 50
        let first = sender.next().expect("first");
        assert_eq!(first.rmpp.length_or_window.get(), 3 * 20 + 450);
        assert_eq!(sender.next(), None, "only one segment before the first acknowledgement");
        assert_eq!(sender.acknowledge(1, 64), Outcome::Progress);
        let middle = sender.next().expect("middle");
        assert_eq!((middle.rmpp.segment.get(), middle.rmpp.length_or_window.get()), (2, 0));
        assert!(!middle.rmpp.is_first() && !middle.rmpp.is_last());
        assert_eq!(middle.payload[..20], first.payload[..20], "the class header is repeated");
        let last = sender.next().expect("last");
        assert_eq!(last.rmpp.length_or_window.get(), 20 + 50);
        assert!(last.rmpp.is_last());
        assert_eq!(sender.next(), None);
        assert_eq!(sender.acknowledge(3, 64), Outcome::Complete);
    }

    #[test]
    fn sender_after_a_rewind_goes_on_after_the_last_acknowledged_segment() {
        let mut sender = sender(2000);
        sender.next();
        sender.acknowledge(1, 5);
        while sender.next().is_some() {}
        assert_eq!(sender.acknowledge(3, 5), Outcome::Progress);
        sender.rewind();
        let numbers: Vec<u32> =
            std::iter::from_fn(|| sender.next()).map(|segment| segment.rmpp.segment.get()).collect();
        assert_eq!(numbers, [4, 5]);
    }

    #[test]
    fn acknowledgements_that_break_the_rules_abort() {
        let mut sender = sender(2000);
        sender.next();
        assert_eq!(sender.acknowledge(2, 64), Outcome::Abort(RmppStatus::SEGMENT_TOO_BIG));
        assert_eq!(sender.acknowledge(1, 0), Outcome::Abort(RmppStatus::WINDOW_TOO_SMALL));
        assert_eq!(sender.acknowledge(1, 8), Outcome::Progress);
        assert_eq!(sender.acknowledge(0, 8), Outcome::Stale);
        assert_eq!(sender.acknowledge(1, 7), Outcome::Stale, "a window does not shrink");
    }
}
