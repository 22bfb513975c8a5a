//! The sending half: segments, and the window that the receiver opens.

use iba::rmpp::{RmppHeader, RmppMad, RmppStatus, RmppType};

use super::{PAYLOAD, RMPP_OFFSET};

/// A message on its way, segment by segment.
#[derive(Debug)]
pub(crate) struct Sender {
    /// First segment, as the user wrote it; it holds the headers that the others repeat.
    first: RmppMad,
    /// Data behind the headers, of all segments.
    data: Vec<u8>,
    headers: usize,
    /// How many segments there are.
    count: u32,
    /// Last segment that went out.
    sent: u32,
    /// Last segment that is acknowledged.
    acknowledged: u32,
    /// Last segment that may go out.
    window: u32,
}

/// What an acknowledgement leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It tells nothing new.
    Stale,
    /// Segments arrived, or the window opened: go on with [`Sender::next`].
    Progress,
    /// All segments arrived.
    Complete,
    /// It breaks the rules: the transaction ends for this reason.
    Abort(RmppStatus),
}

impl Sender {
    /// Starts on a message: `headers` bytes of common, RMPP and class header at the front of `first`, which its segments
    /// repeat, and `data` of any length. `None` where it is longer than segments can be counted.
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

    /// The next segment that may go out now.
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
        self.sent = self.sent.max(segment); // it may acknowledge what went out before a rewind
        self.window = window;
        if self.is_acknowledged() { Outcome::Complete } else { Outcome::Progress }
    }

    /// Whether all segments are acknowledged.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.acknowledged == self.count
    }

    /// Starts again behind the last acknowledged segment: what went out since then seems lost.
    pub(crate) fn rewind(&mut self) {
        self.sent = self.acknowledged;
    }

    /// Segment `number`, from 1.
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
    fn a_short_message_is_first_and_last_at_once() {
        let segment = sender(100).next().expect("one segment");
        assert!(segment.rmpp.is_active() && segment.rmpp.is_first() && segment.rmpp.is_last());
        assert_eq!(segment.rmpp.segment.get(), 1);
        assert_eq!(segment.rmpp.length_or_window.get(), 20 + 100); // class header and data
        assert_eq!(segment.payload[20..120], data(100));
        assert_eq!(segment.payload[120..], [0; 100]);
    }

    #[test]
    fn an_empty_message_is_one_segment() {
        let mut sender = sender(0);
        let segment = sender.next().expect("one segment");
        assert!(segment.rmpp.is_first() && segment.rmpp.is_last());
        assert_eq!(segment.rmpp.length_or_window.get(), 20);
        assert_eq!(sender.next(), None);
    }

    #[test]
    fn lengths_count_the_class_header_of_each_segment() {
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
    fn it_goes_on_behind_what_was_acknowledged() {
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
    fn acknowledgements_that_break_the_rules_end_it() {
        let mut sender = sender(2000);
        sender.next();
        assert_eq!(sender.acknowledge(2, 64), Outcome::Abort(RmppStatus::SEGMENT_TOO_BIG));
        assert_eq!(sender.acknowledge(1, 0), Outcome::Abort(RmppStatus::WINDOW_TOO_SMALL));
        assert_eq!(sender.acknowledge(1, 8), Outcome::Progress);
        assert_eq!(sender.acknowledge(0, 8), Outcome::Stale);
        assert_eq!(sender.acknowledge(1, 7), Outcome::Stale, "a window does not shrink");
    }
}
