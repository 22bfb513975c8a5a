//! Reliable multi-packet transactions: one message of a management class in as many MADs as it takes (13.6).

use crate::mad::MadHeader;
use crate::wire::U32;

wire! {
    /// Header of a reliable multi-packet transaction, behind the common header of a MAD (13.6.2.1).
    #[derive(Default)]
    pub struct RmppHeader[12] {
        /// Version of this header: [`RmppHeader::VERSION`] where it means something.
        pub version: u8,
        /// Type of the MAD in its transaction.
        pub kind: RmppType,
        time_and_flags: u8,
        /// Why a transaction stops; 0 in data and in an acknowledgement.
        pub status: RmppStatus,
        /// In data its segment, from 1; in an acknowledgement the last segment that arrived with all before it.
        pub segment: U32,
        /// In the first segment of data the payload of all, in the last one its own (bytes behind this header, 0 in the
        /// first where it is not known); in an acknowledgement the last segment that may be sent.
        pub length_or_window: U32,
    }

    /// A MAD of a class with reliable multi-packet transactions (13.6.2).
    pub struct RmppMad[256] {
        /// The common header.
        pub header: MadHeader,
        /// RMPP header.
        pub rmpp: RmppHeader,
        /// The rest: the class's own header, and data.
        pub payload: [u8; 220],
    }
}

impl RmppHeader {
    /// The only version of the header (13.6.2.1).
    pub const VERSION: u8 = 1;
}

bits! {
    RmppHeader {
        /// Time that the sender needs to answer: 4.096 us times 2 to this power, 31 for not given.
        response_time, set_response_time: u8 = time_and_flags[7, 3];
        /// `true` if the MAD is the last segment of its message.
        is_last, set_last: bool = time_and_flags[2, 2];
        /// `true` if the MAD is the first segment of its message.
        is_first, set_first: bool = time_and_flags[1, 1];
        /// `true` if the MAD belongs to a transaction at all; if not, nothing else of this header means anything.
        is_active, set_active: bool = time_and_flags[0, 0];
    }
}

values! {
    /// Type of a MAD in a reliable multi-packet transaction (13.6.2.1).
    RmppType: u8, 1;
    /// A segment.
    DATA = 1 "DATA";
    /// Acknowledges segments and opens a window for more.
    ACK = 2 "ACK";
    /// Ends the transaction for want of resources.
    STOP = 3 "STOP";
    /// Ends the transaction because the other side broke the rules.
    ABORT = 4 "ABORT";
}

values! {
    /// Why a reliable multi-packet transaction ends early (13.6.2.2).
    RmppStatus: u8, 1;
    /// The MAD belongs to no transaction.
    NORMAL = 0 "normal";
    /// Resources are exhausted; only of [`RmppType::STOP`].
    RESOURCES_EXHAUSTED = 1 "resources exhausted";
    /// The whole transaction took too long.
    TOTAL_TIME_TOO_LONG = 118 "total time too long";
    /// The payload lengths of the first and last segment contradict each other.
    INCONSISTENT_LENGTH = 119 "inconsistent payload length";
    /// The flag of the first segment contradicts the segment's number.
    INCONSISTENT_FIRST = 120 "inconsistent first and segment number";
    /// The kind of MAD is not known.
    BAD_TYPE = 121 "bad RMPP type";
    /// The window ends before the segment that is acknowledged.
    WINDOW_TOO_SMALL = 122 "new window last too small";
    /// A segment is acknowledged that was not sent.
    SEGMENT_TOO_BIG = 123 "segment number too big";
    /// The status is not one that this kind of MAD can have.
    ILLEGAL_STATUS = 124 "illegal status";
    /// The version of the header is not known.
    BAD_VERSION = 125 "unsupported version";
    /// A segment was repeated too often.
    TOO_MANY_RETRIES = 126 "too many retries";
    /// Any other reason.
    UNSPECIFIED = 127 "unspecified";
}

#[cfg(test)]
mod tests {
    use zerocopy::FromBytes;

    use super::*;

    #[test]
    fn flags_lie_below_the_response_time() {
        // As Linux sends the first segment of a table of 4 segments, 800 bytes of payload.
        let bytes = [1, 1, 0x73, 0, 0, 0, 0, 1, 0, 0, 3, 0x20];
        let header = RmppHeader::read_from_bytes(&bytes).unwrap();
        assert_eq!((header.version, header.kind, header.status), (1, RmppType::DATA, RmppStatus::NORMAL));
        assert_eq!(header.response_time(), 14);
        assert!(header.is_active() && header.is_first() && !header.is_last());
        assert_eq!((header.segment.get(), header.length_or_window.get()), (1, 800));
    }
}
