//! Messages between the ends of a cable: one in each datagram, numbers big-endian.
//!
//! | byte 0 | then |
//! |---|---|
//! | 1 hello | version u16, port u8, node GUID u64 |
//! | 2 link | polling u8, widths u8, speeds u8, extended speeds u8, epoch u32, heard u32 |
//! | 3 credit | limit u32: number of data packets, from the link's coming up on, that the peer may send |
//! | 4 packet | the packet from LRH through VCRC |

use iba::{Guid, PortNum};
use thiserror::Error;
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::link::{Abilities, Announcement};

/// Version of these messages. An end unplugs a peer of another version.
pub(super) const VERSION: u16 = 1;

/// First byte of a datagram that holds a packet.
pub(super) const PACKET: u8 = 4;
const HELLO: u8 = 1;
const LINK: u8 = 2;
const CREDIT: u8 = 3;

/// Bytes of the longest control message: any message but a packet.
pub(super) const MAX_CONTROL: usize = size_of::<LinkBytes>();

/// Bytes of the longest datagram: the type, LRH 8, GRH 40, BTH 12, the longest extension header 28, payload 4096,
/// ICRC 4, VCRC 2.
pub const MAX_MESSAGE: usize = 1 + 8 + 40 + 12 + 28 + 4096 + 4 + 2;

/// Identity of an end of a cable; the first message of each end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The node.
    pub node: Guid,
    /// The node's port at this cable.
    pub port: PortNum,
}

/// A message between two ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Identity of the sender.
    Hello(Hello),
    /// State of the sender's link machine.
    Link(Announcement),
    /// Number of packets on data VLs that the receiver may send since the link came up; wrapping.
    Credit(u32),
    /// A packet, LRH through VCRC; unchecked.
    Packet(&'a mut [u8]),
}

/// Reason why a datagram is no message. The cable is then unplugged.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    /// The type is unknown, or the length is not the type's.
    #[error("cannot decode a cable message of type {kind} with {length} bytes: it is not of version {VERSION}")]
    Malformed {
        /// Byte 0, or 0 for an empty datagram.
        kind: u8,
        /// Length of the datagram in bytes.
        length: usize,
    },
    /// The other end has another version.
    #[error("cannot use the cable: the other end has version {0}, this one {VERSION}; run both from one build")]
    Version(u16),
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct HelloBytes {
    kind: u8,
    version: U16,
    port: PortNum,
    node: Guid,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LinkBytes {
    kind: u8,
    polling: u8,
    widths: u8,
    speeds: u8,
    speeds_ext: u8,
    epoch: U32,
    heard: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct CreditBytes {
    kind: u8,
    limit: U32,
}

impl<'a> Message<'a> {
    /// Decodes a datagram.
    ///
    /// # Errors
    /// The datagram is not a message of this version.
    pub fn decode(datagram: &'a mut [u8]) -> Result<Self, MessageError> {
        let kind = datagram.first().copied().unwrap_or(0);
        let malformed = MessageError::Malformed { kind, length: datagram.len() };
        match kind {
            HELLO => match HelloBytes::read_from_bytes(datagram) {
                Ok(hello) if hello.version.get() != VERSION => Err(MessageError::Version(hello.version.get())),
                Ok(hello) => Ok(Self::Hello(Hello { node: hello.node, port: hello.port })),
                Err(_) => Err(malformed),
            },
            LINK => match LinkBytes::read_from_bytes(datagram) {
                Ok(link) if link.polling <= 1 => Ok(Self::Link(Announcement {
                    polling: link.polling == 1,
                    abilities: Abilities { widths: link.widths, speeds: link.speeds, speeds_ext: link.speeds_ext },
                    epoch: link.epoch.get(),
                    heard: link.heard.get(),
                })),
                _ => Err(malformed),
            },
            CREDIT => match CreditBytes::read_from_bytes(datagram) {
                Ok(credit) => Ok(Self::Credit(credit.limit.get())),
                Err(_) => Err(malformed),
            },
            PACKET if datagram.len() <= MAX_MESSAGE => Ok(Self::Packet(&mut datagram[1..])),
            _ => Err(malformed),
        }
    }
}

/// Bytes of a control message.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    bytes: [u8; MAX_CONTROL],
    length: usize,
}

impl Control {
    /// Returns the datagram to send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn from(message: &(impl IntoBytes + Immutable)) -> Self {
        let from = message.as_bytes();
        let mut bytes = [0; MAX_CONTROL];
        bytes[..from.len()].copy_from_slice(from);
        Self { bytes, length: from.len() }
    }

    /// Creates a [`Message::Hello`].
    #[must_use]
    pub fn hello(hello: Hello) -> Self {
        Self::from(&HelloBytes { kind: HELLO, version: VERSION.into(), port: hello.port, node: hello.node })
    }

    /// Creates a [`Message::Link`].
    #[must_use]
    pub fn link(announcement: Announcement) -> Self {
        let Announcement { polling, abilities, epoch, heard } = announcement;
        let Abilities { widths, speeds, speeds_ext } = abilities;
        Self::from(&LinkBytes {
            kind: LINK,
            polling: polling.into(),
            widths,
            speeds,
            speeds_ext,
            epoch: epoch.into(),
            heard: heard.into(),
        })
    }

    /// Creates a [`Message::Credit`].
    #[must_use]
    pub fn credit(limit: u32) -> Self {
        Self::from(&CreditBytes { kind: CREDIT, limit: limit.into() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HELLO_MESSAGE: Hello = Hello { node: Guid::new(0x0200_0000_1234_5678), port: PortNum::new(7) };
    const ANNOUNCEMENT: Announcement = Announcement {
        polling: true,
        abilities: Abilities { widths: 3, speeds: 7, speeds_ext: 2 },
        epoch: 0x1122_3344,
        heard: 9,
    };

    #[test]
    fn messages_have_the_documented_bytes() {
        assert_eq!(Control::hello(HELLO_MESSAGE).bytes(), [1, 0, 1, 7, 2, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]);
        assert_eq!(Control::link(ANNOUNCEMENT).bytes(), [2, 1, 3, 7, 2, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 9]);
        assert_eq!(Control::credit(0x0102_0304).bytes(), [3, 1, 2, 3, 4]);
    }

    #[test]
    fn encoded_messages_decode_to_the_same() {
        let decode = |control: Control| match Message::decode(&mut control.bytes().to_vec()) {
            Ok(Message::Hello(hello)) => assert_eq!(hello, HELLO_MESSAGE),
            Ok(Message::Link(announcement)) => assert_eq!(announcement, ANNOUNCEMENT),
            Ok(Message::Credit(limit)) => assert_eq!(limit, u32::MAX),
            other => panic!("{other:?}"),
        };
        decode(Control::hello(HELLO_MESSAGE));
        decode(Control::link(ANNOUNCEMENT));
        decode(Control::credit(u32::MAX));
        assert_eq!(Message::decode(&mut [4, 9, 8]), Ok(Message::Packet(&mut [9, 8])));
    }

    #[test]
    fn datagrams_of_other_lengths_types_and_versions_are_refused() {
        for control in [Control::hello(HELLO_MESSAGE), Control::link(ANNOUNCEMENT), Control::credit(1)] {
            let kind = control.bytes()[0];
            for length in (0..40).filter(|&length| length != control.length) {
                let mut datagram = vec![0; length];
                datagram.iter_mut().take(1).for_each(|byte| *byte = kind);
                let kind = if length == 0 { 0 } else { kind };
                assert_eq!(Message::decode(&mut datagram), Err(MessageError::Malformed { kind, length }));
            }
        }
        assert!(Message::decode(&mut vec![PACKET; MAX_MESSAGE]).is_ok());
        assert!(Message::decode(&mut vec![PACKET; MAX_MESSAGE + 1]).is_err());
        assert_eq!(Message::decode(&mut [1, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 1]), Err(MessageError::Version(2)));
        assert!(Message::decode(&mut [2, 2, 3, 7, 2, 0, 0, 0, 1, 0, 0, 0, 1]).is_err(), "polling is 0 or 1");
    }

    proptest! {
        #[test]
        fn any_datagram_decodes_without_panic(mut datagram in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Message::decode(&mut datagram);
        }
    }
}
