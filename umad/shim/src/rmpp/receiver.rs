//! The receiving side: segments in any order, acknowledged window by window.

use std::collections::BTreeMap;

use iba::rmpp::{RmppMad, RmppStatus, RmppType};
use zerocopy::IntoBytes;

use super::{PAYLOAD, RMPP_OFFSET, answer};

/// Segments that the sender may send before it waits for an acknowledgement. As in the kernel: an eighth of a receive
/// queue of 512.
const WINDOW: u32 = 64;

/// Message that arrives segment by segment.
#[derive(Debug)]
pub(crate) struct Receiver {
    headers: usize,
    /// Segments up to `last`: the first whole, the others without headers.
    message: Vec<u8>,
    /// Last segment before the first gap.
    last: u32,
    /// Last segment that the sender may send.
    window: u32,
    /// Segments after the first gap.
    early: BTreeMap<u32, RmppMad>,
    is_complete: bool,
}

/// Result of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// No action.
    Wait,
    /// Send [`Receiver::acknowledgement`].
    Acknowledge,
    /// Send [`Receiver::acknowledgement`]. The message is complete.
    Complete(Vec<u8>),
    /// The segment breaks the rules: send an ABORT with this status.
    Abort(RmppStatus),
}

impl Receiver {
    /// Creates a receiver of a message whose segments repeat `headers` bytes of headers.
    pub(crate) fn new(headers: usize) -> Self {
        Self { headers, message: Vec::new(), last: 0, window: WINDOW, early: BTreeMap::new(), is_complete: false }
    }

    /// Takes a segment of data.
    pub(crate) fn take(&mut self, segment: &RmppMad) -> Step {
        let number = segment.rmpp.segment.get();
        if segment.rmpp.status != RmppStatus::NORMAL {
            return Step::Abort(RmppStatus::ILLEGAL_STATUS);
        }
        if segment.rmpp.is_first() != (number == 1) {
            return Step::Abort(RmppStatus::INCONSISTENT_FIRST);
        }
        if self.is_complete || number <= self.last {
            return Step::Acknowledge; // the sender missed an acknowledgement
        }
        if number > self.window {
            return Step::Wait;
        }
        self.early.insert(number, *segment);
        let before = self.last;
        while let Some(segment) = self.early.remove(&(self.last + 1)) {
            self.last += 1;
            self.append(&segment);
            if segment.rmpp.is_last() {
                self.is_complete = true;
                self.early.clear();
                return Step::Complete(std::mem::take(&mut self.message));
            }
        }
        // The sender may not send a second segment before it knows the window.
        if self.last > before && (before == 0 || self.last == self.window) {
            self.window = self.last + WINDOW;
            return Step::Acknowledge;
        }
        Step::Wait
    }

    /// Returns the ACK of all segments up to the first gap, as an answer to `segment`.
    pub(crate) fn acknowledgement(&self, segment: &RmppMad) -> RmppMad {
        answer(segment, self.headers, RmppType::ACK, RmppStatus::NORMAL, self.last, self.window)
    }

    /// Returns the bytes of headers that each segment repeats.
    pub(crate) fn headers(&self) -> usize {
        self.headers
    }

    /// Returns `true` if the whole message has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Appends the next segment to the message.
    fn append(&mut self, segment: &RmppMad) {
        let bytes = segment.as_bytes();
        let start = if self.last == 1 { 0 } else { self.headers };
        let mut end = bytes.len();
        if segment.rmpp.is_last() {
            // An impossible length means a full segment.
            let length = segment.rmpp.length_or_window.get() as usize;
            if (self.headers - RMPP_OFFSET..=PAYLOAD).contains(&length) {
                end = RMPP_OFFSET + length;
            }
        }
        self.message.extend_from_slice(&bytes[start..end]);
    }
}

#[cfg(test)]
mod tests {
    use iba::mad::Method;
    use proptest::prelude::*;
    use zerocopy::FromBytes;

    use super::super::Sender;
    use super::*;

    const HEADERS: usize = 56;

    fn sender(data: &[u8]) -> Sender {
        let first = RmppMad::read_from_bytes(&[0x55; 256]).expect("length");
        Sender::new(first, HEADERS, data).expect("count fits")
    }

    fn segments(len: usize) -> Vec<RmppMad> {
        let mut sender = sender(&vec![7; len]);
        let first = sender.next().expect("first");
        sender.acknowledge(1, u32::MAX);
        std::iter::once(first).chain(std::iter::from_fn(|| sender.next())).collect()
    }

    #[test]
    fn first_segment_is_acknowledged_and_opens_the_window() {
        let segments = segments(1000);
        let mut receiver = Receiver::new(HEADERS);
        assert_eq!(receiver.take(&segments[0]), Step::Acknowledge);
        let mut first = segments[0];
        first.header.method = Method::new(0x92);
        let ack = receiver.acknowledgement(&first);
        assert_eq!(ack.header.method, Method::new(0x12));
        assert_eq!((ack.rmpp.kind, ack.rmpp.segment.get(), ack.rmpp.length_or_window.get()), (RmppType::ACK, 1, 65));
        assert!(ack.rmpp.is_active() && !ack.rmpp.is_first() && !ack.rmpp.is_last());
        assert_eq!(ack.payload[..20], first.payload[..20]);
        assert_eq!(ack.payload[20..], [0; 200]);
    }

    #[test]
    fn single_segment_is_a_message() {
        let mut receiver = Receiver::new(HEADERS);
        let Step::Complete(message) = receiver.take(&segments(30)[0]) else { panic!("not complete") };
        assert_eq!(message.len(), HEADERS + 30);
        assert!(receiver.is_complete());
        assert_eq!(receiver.take(&segments(30)[0]), Step::Acknowledge, "a repeated segment is acknowledged again");
    }

    #[test]
    fn segment_beyond_the_window_is_dropped() {
        let segments = segments(200 * 100);
        let mut receiver = Receiver::new(HEADERS);
        receiver.take(&segments[0]);
        assert_eq!(receiver.take(&segments[65]), Step::Wait);
        assert!(receiver.early.is_empty());
        for segment in &segments[1..64] {
            assert_eq!(receiver.take(segment), Step::Wait);
        }
        assert_eq!(receiver.take(&segments[64]), Step::Acknowledge, "the window is full");
        assert_eq!(receiver.acknowledgement(&segments[64]).rmpp.length_or_window.get(), 65 + 64);
    }

    #[test]
    fn segments_that_break_the_rules_abort() {
        let mut first = segments(1000)[0];
        first.rmpp.set_first(false);
        assert_eq!(Receiver::new(HEADERS).take(&first), Step::Abort(RmppStatus::INCONSISTENT_FIRST));
        let mut second = segments(1000)[1];
        second.rmpp.set_first(true);
        assert_eq!(Receiver::new(HEADERS).take(&second), Step::Abort(RmppStatus::INCONSISTENT_FIRST));
        let mut failed = segments(1000)[0];
        failed.rmpp.status = RmppStatus::UNSPECIFIED;
        assert_eq!(Receiver::new(HEADERS).take(&failed), Step::Abort(RmppStatus::ILLEGAL_STATUS));
    }

    #[test]
    fn impossible_length_of_the_last_segment_means_a_full_one() {
        for length in [0, 19, 221, u32::MAX] {
            let mut only = segments(30)[0];
            only.rmpp.length_or_window.set(length);
            let Step::Complete(message) = Receiver::new(HEADERS).take(&only) else { panic!("not complete") };
            assert_eq!(message.len(), 256);
        }
    }

    proptest! {
        /// What is cut comes together again over a wire that loses, repeats and reorders.
        #[test]
        fn a_message_survives_a_bad_wire(data in 0usize..30_000, seed in any::<u64>(), loss in 0u64..50) {
            let data: Vec<u8> = (0..=u8::MAX).cycle().take(data).collect();
            let mut random = seed | 1;
            let mut chance = |percent: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % 100 < percent
            };
            let mut sender = sender(&data);
            let mut receiver = Receiver::new(HEADERS);
            let mut arrived = None;
            for _ in 0..100_000 {
                let mut wire: Vec<RmppMad> = std::iter::from_fn(|| sender.next()).collect();
                if chance(30) {
                    wire.reverse();
                }
                if chance(10) {
                    wire.extend(wire.clone());
                }
                for segment in wire.iter().filter(|_| !chance(loss)).collect::<Vec<_>>() {
                    match receiver.take(segment) {
                        Step::Wait => continue,
                        Step::Complete(message) => prop_assert!(arrived.replace(message).is_none()),
                        Step::Acknowledge => {}
                        Step::Abort(status) => prop_assert!(false, "aborted: {status}"),
                    }
                    let ack = receiver.acknowledgement(segment).rmpp;
                    if !chance(loss) {
                        let outcome = sender.acknowledge(ack.segment.get(), ack.length_or_window.get());
                        prop_assert!(!matches!(outcome, super::super::Outcome::Abort(_)), "{outcome:?}");
                    }
                }
                if sender.is_acknowledged() {
                    break;
                }
                sender.rewind();
            }
            prop_assert!(sender.is_acknowledged());
            let arrived = arrived.expect("all is acknowledged");
            prop_assert_eq!(&arrived[HEADERS..], &data);
            prop_assert_eq!(&arrived[..24], &[0x55; 24]);
        }
    }
}
