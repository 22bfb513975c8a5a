//! Packets: from the local route header through the payload, without the invariant and variant CRCs.
//!
//! [`parse`] finds the headers of any packet and judges that their lengths agree. [`SmpPacket`] and [`MadPacket`] are
//! whole packets as one struct each, for those who make or answer management datagrams.

use thiserror::Error;
use zerocopy::{Ref, SplitByteSlice};

use crate::bth::{Bth, Opcode};
use crate::crc::ICRC;
use crate::deth::Deth;
use crate::grh::Grh;
use crate::lrh::{Lrh, NextHeader};
use crate::mad::Mad;
use crate::smp::Smp;
use crate::wire::{FromBytes, U32};
use crate::{Lid, PKey, QKey, Qpn, Sl, Vl};

/// The headers of a packet, where they lie: references, for `B` = `&[u8]`, or mutable ones, for `&mut [u8]`.
#[derive(Debug)]
pub enum Packet<B: SplitByteSlice> {
    /// Not of InfiniBand's transport: an Ethertype or an IPv6 header follows.
    Raw {
        /// Local route header.
        lrh: Ref<B, Lrh>,
        /// Payload.
        payload: B,
    },
    /// Of InfiniBand's transport.
    Transport(TransportPacket<B>),
}

/// The headers of a packet of InfiniBand's transport (9.2).
#[derive(Debug)]
pub struct TransportPacket<B: SplitByteSlice> {
    /// Local route header.
    pub lrh: Ref<B, Lrh>,
    /// Global route header, if there is one.
    pub grh: Option<Ref<B, Grh>>,
    /// Base transport header.
    pub bth: Ref<B, Bth>,
    /// Datagram header, of an unreliable datagram.
    pub deth: Option<Ref<B, Deth>>,
    /// Payload, padding included.
    pub payload: B,
}

impl<B: SplitByteSlice> TransportPacket<B> {
    /// Where the payload begins in the packet.
    pub fn payload_offset(&self) -> usize {
        let grh = if self.grh.is_some() { size_of::<Grh>() } else { 0 };
        let deth = if self.deth.is_some() { size_of::<Deth>() } else { 0 };
        size_of::<Lrh>() + grh + size_of::<Bth>() + deth
    }
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// The packet ends before its headers do.
    #[error("packet of {0} bytes ends before its headers do; discard it")]
    Short(usize),
    /// The link version is unknown.
    #[error("link version {0} is not 0; discard the packet")]
    LinkVersion(u8),
    /// The local route header states another length than the packet has.
    #[error("local route header states {stated} bytes, the packet has {actual} (CRC included); discard it")]
    Length {
        /// Length in the header, in bytes, the invariant CRC included.
        stated: usize,
        /// Length of the packet, likewise.
        actual: usize,
    },
    /// The global route header is not of IP version 6.
    #[error("global route header of IP version {0}, not 6; discard the packet")]
    IpVersion(u8),
    /// The global route header announces something else than a base transport header.
    #[error("global route header announces next header {0:#04x}, not 0x1b; discard the packet")]
    GrhNextHeader(u8),
    /// The global route header states another length than the packet has.
    #[error("global route header states {stated} bytes after it, there are {actual}; discard the packet")]
    GrhLength {
        /// Length in the header, the invariant CRC included.
        stated: usize,
        /// Length of the packet, likewise.
        actual: usize,
    },
    /// The transport's version is unknown.
    #[error("transport version {0} is not 0; discard the packet")]
    TransportVersion(u8),
    /// More padding than payload.
    #[error("{pad} bytes of padding in a payload of {payload}; discard the packet")]
    Padding {
        /// Value in the base transport header.
        pad: u8,
        /// Bytes of payload.
        payload: usize,
    },
}

/// Finds the headers of `packet`.
///
/// # Errors
/// Says what is wrong with a packet whose headers have unknown versions, or lengths that do not agree with its own.
#[inline]
pub fn parse<B: SplitByteSlice>(packet: B) -> Result<Packet<B>, PacketError> {
    let bytes = packet.len();
    let short = PacketError::Short(bytes);
    let (lrh, rest) = Ref::<B, Lrh>::from_prefix(packet).map_err(|_| short)?;
    if lrh.link_version() != 0 {
        return Err(PacketError::LinkVersion(lrh.link_version()));
    }
    let next_header = lrh.next_header();
    let raw = matches!(next_header, NextHeader::RawEthertype | NextHeader::RawIpv6);
    let (stated, actual) = (usize::from(lrh.packet_length()) * 4, if raw { bytes } else { bytes + ICRC });
    if stated != actual {
        return Err(PacketError::Length { stated, actual });
    }
    if raw {
        return Ok(Packet::Raw { lrh, payload: rest });
    }
    let (grh, rest) = if next_header == NextHeader::Grh {
        let (grh, rest) = Ref::<B, Grh>::from_prefix(rest).map_err(|_| short)?;
        check_grh(&grh, rest.len() + ICRC)?;
        (Some(grh), rest)
    } else {
        (None, rest)
    };
    let (bth, rest) = Ref::<B, Bth>::from_prefix(rest).map_err(|_| short)?;
    if bth.transport_version() != 0 {
        return Err(PacketError::TransportVersion(bth.transport_version()));
    }
    let (deth, payload) = if bth.opcode.is_unreliable_datagram() {
        let (deth, rest) = Ref::<B, Deth>::from_prefix(rest).map_err(|_| short)?;
        (Some(deth), rest)
    } else {
        (None, rest)
    };
    if usize::from(bth.pad_count()) > payload.len() {
        return Err(PacketError::Padding { pad: bth.pad_count(), payload: payload.len() });
    }
    Ok(Packet::Transport(TransportPacket { lrh, grh, bth, deth, payload }))
}

/// Judges a global route header that `actual` bytes follow, the invariant CRC included.
fn check_grh(grh: &Grh, actual: usize) -> Result<(), PacketError> {
    let stated = grh.payload_length.get().into();
    if grh.ip_version() != Grh::IP_VERSION {
        Err(PacketError::IpVersion(grh.ip_version()))
    } else if grh.next_header != Grh::NEXT_HEADER_BTH {
        Err(PacketError::GrhNextHeader(grh.next_header))
    } else if stated != actual {
        Err(PacketError::GrhLength { stated, actual })
    } else {
        Ok(())
    }
}

wire! {
    /// Headers of an unreliable datagram that stays in its subnet.
    pub struct UdHeader[28] {
        /// Local route header.
        pub lrh: Lrh,
        /// Base transport header.
        pub bth: Bth,
        /// Datagram header.
        pub deth: Deth,
    }

    /// A whole packet with a subnet management datagram, as it always is: on lane 15, from queue pair 0 to queue pair
    /// 0, without a global route header.
    pub struct SmpPacket[284] {
        /// Headers.
        pub header: UdHeader,
        /// Datagram.
        pub smp: Smp,
    }

    /// A whole packet with a datagram of a general service that stays in its subnet.
    pub struct MadPacket[284] {
        /// Headers.
        pub header: UdHeader,
        /// Datagram.
        pub mad: Mad,
    }
}

impl UdHeader {
    /// Headers of a datagram of `payload` bytes from `slid` to `dlid`: SEND only, full member of the default
    /// partition, and all that is not said here 0. A payload is at most 4096 bytes, and padded by the caller
    /// to whole words.
    pub fn new(slid: Lid, dlid: Lid, sl: Sl, payload: usize) -> Self {
        let mut lrh = Lrh::default();
        (lrh.dlid, lrh.slid) = (dlid, slid);
        lrh.set_sl(sl);
        lrh.set_next_header(NextHeader::Bth);
        let words = (size_of::<Self>() + payload).div_ceil(4) + ICRC / 4;
        lrh.set_packet_length(u16::try_from(words).unwrap_or(u16::MAX));
        let mut bth = Bth::default();
        (bth.opcode, bth.p_key) = (Opcode::UD_SEND_ONLY, PKey::DEFAULT);
        Self { lrh, bth, deth: Deth::default() }
    }
}

impl SmpPacket {
    /// A packet with `smp` from `slid` to `dlid`.
    pub fn new(slid: Lid, dlid: Lid, sl: Sl, smp: Smp) -> Self {
        let mut header = UdHeader::new(slid, dlid, sl, size_of::<Smp>());
        header.lrh.set_vl(Vl::MANAGEMENT);
        Self { header, smp }
    }

    /// The SMP packet that `packet` is; `None` where it is not one (C14-1).
    #[inline]
    pub fn parse_mut(packet: &mut [u8]) -> Option<&mut Self> {
        let packet = Self::mut_from_bytes(packet).ok()?;
        packet.is_valid().then_some(packet)
    }

    /// Returns `true` if the headers are those of an SMP packet. Every management packet comes through here, so this
    /// compares whole words.
    #[inline]
    fn is_valid(&self) -> bool {
        let words: &[U32; size_of::<UdHeader>() / 4] = zerocopy::transmute_ref!(&self.header);
        let pair = |index: usize| u64::from(words[index].get()) << 32 | u64::from(words[index + 1].get());
        // Lane 15, link version 0, next header BTH, length 72 words.
        pair(0) & 0xff03_0000_07ff_0000 == 0xf002_0000_0048_0000
            // UD SEND only, no padding, transport version 0, to queue pair 0.
            && pair(2) & 0xff3f_0000_00ff_ffff == 0x6400_0000_0000_0000
            // From queue pair 0.
            && words[6].get() & 0x00ff_ffff == 0
    }
}

impl MadPacket {
    /// A packet with `mad` from `slid` to `dlid`, from queue pair 1 to queue pair 1.
    pub fn new(slid: Lid, dlid: Lid, sl: Sl, mad: Mad) -> Self {
        let mut header = UdHeader::new(slid, dlid, sl, size_of::<Mad>());
        header.bth.dest_qp = Qpn::GSI;
        (header.deth.q_key, header.deth.src_qp) = (QKey::GSI, Qpn::GSI);
        Self { header, mad }
    }
}
