//! The numbers that name things in a subnet, as they are on the wire: big-endian bytes, aligned to one.
//!
//! Bytes in wire order compare as the numbers do.

use core::fmt;

use crate::wire::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Defines a number of whole bytes: `Name: native type, bytes on the wire;`. For [`number!`] and [`values!`].
macro_rules! bytes {
    // One byte is a scalar, and goes through registers as such.
    ($(#[$doc:meta])* $name:ident: u8, $bytes:literal;) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            $crate::wire::FromBytes, $crate::wire::IntoBytes, $crate::wire::KnownLayout, $crate::wire::Immutable,
            $crate::wire::Unaligned,
        )]
        #[repr(transparent)]
        pub struct $name(u8);

        impl $name {
            /// The value of a number.
            #[inline]
            pub const fn new(value: u8) -> Self {
                Self(value)
            }

            /// The value as a number.
            #[inline]
            pub const fn get(self) -> u8 {
                self.0
            }
        }

        impl From<u8> for $name {
            #[inline]
            fn from(value: u8) -> Self {
                Self(value)
            }
        }
    };
    ($($(#[$doc:meta])* $name:ident: $native:ident, $bytes:literal;)*) => { $(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            $crate::wire::FromBytes, $crate::wire::IntoBytes, $crate::wire::KnownLayout, $crate::wire::Immutable,
            $crate::wire::Unaligned,
        )]
        #[repr(transparent)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The value of a number; bits that the wire has no room for are dropped.
            #[inline]
            pub const fn new(value: $native) -> Self {
                const SKIP: usize = size_of::<$native>() - $bytes;
                let native = value.to_be_bytes();
                let mut bytes = [0; $bytes];
                let mut at = 0;
                while at < $bytes {
                    bytes[at] = native[at + SKIP];
                    at += 1;
                }
                Self(bytes)
            }

            /// The value as a number.
            #[inline]
            pub const fn get(self) -> $native {
                const SKIP: usize = size_of::<$native>() - $bytes;
                let mut native = [0; size_of::<$native>()];
                let mut at = 0;
                while at < $bytes {
                    native[at + SKIP] = self.0[at];
                    at += 1;
                }
                $native::from_be_bytes(native)
            }
        }

        impl From<$native> for $name {
            #[inline]
            fn from(value: $native) -> Self {
                Self::new(value)
            }
        }
    )* };
}

/// Defines a number that people read as one: `Name: native type, bytes on the wire, format;`.
macro_rules! number {
    ($($(#[$doc:meta])* $name:ident: $native:ident, $bytes:literal, $format:literal;)*) => { $(
        bytes! { $(#[$doc])* $name: $native, $bytes; }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, $format, self.get())
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "(", $format, ")"), self.get())
            }
        }
    )* };
}

/// Defines a number some of whose values have names; the others are values too.
macro_rules! values {
    (
        $(#[$doc:meta])* $name:ident: $native:ident, $bytes:literal;
        $($(#[$constant_doc:meta])* $constant:ident = $value:literal $text:literal;)*
    ) => {
        bytes! { $(#[$doc])* $name: $native, $bytes; }

        impl $name {
            $($(#[$constant_doc])* pub const $constant: Self = Self::new($value);)*

            /// The specification's name for this value, if it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.get() {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, "{:#x}", self.get()),
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

number! {
    /// Local identifier: the address of a port, or of a multicast group, in a subnet (4.1.3).
    Lid: u16, 2, "{:#06x}";
    /// EUI-64 of a node, port or system image (4.1.1).
    Guid: u64, 8, "{:#018x}";
    /// Upper half of a [`Gid`]: the subnet's prefix (4.1.1).
    GidPrefix: u64, 8, "{:#018x}";
    /// Partition key (10.9): 15 bits of base value, below a bit that tells full members from limited ones.
    PKey: u16, 2, "{:#06x}";
    /// Queue key: who may send to a datagram queue pair (10.2.4).
    QKey: u32, 4, "{:#010x}";
    /// Management key: who may manage a port (14.2.4).
    MKey: u64, 8, "{:#018x}";
    /// Key of a subnet manager (14.2.5.13, 14.4.7).
    SmKey: u64, 8, "{:#018x}";
    /// Queue pair number, 24 bits.
    Qpn: u32, 3, "{:#08x}";
    /// Packet sequence number, 24 bits (9.7).
    Psn: u32, 3, "{:#08x}";
    /// Vendor id: the vendor's IEEE organizationally unique identifier, 24 bits.
    VendorId: u32, 3, "{:#08x}";
    /// Transaction id of a MAD (13.4.6.4).
    TransactionId: u64, 8, "{:#018x}";
    /// Number of a port in its node; 0 is a switch's management port.
    PortNum: u8, 1, "{}";
    /// Service level, 0 to 15 (7.6.5).
    Sl: u8, 1, "{}";
    /// Virtual lane, 0 to 15 (7.6).
    Vl: u8, 1, "{}";
}

impl Lid {
    /// No LID: a port that has none yet.
    pub const UNASSIGNED: Self = Self::new(0);
    /// The least and the greatest unicast LID (4.1.3).
    pub const UNICAST: core::ops::RangeInclusive<Self> = Self::new(0x0001)..=Self::new(0xbfff);
    /// The least and the greatest multicast LID (4.1.3).
    pub const MULTICAST: core::ops::RangeInclusive<Self> = Self::new(0xc000)..=Self::new(0xfffe);
    /// The permissive LID: whatever port it is that receives it (4.1.3). Directed routes begin and end with it.
    pub const PERMISSIVE: Self = Self::new(0xffff);

    /// Returns `true` if this addresses one port.
    #[inline]
    pub fn is_unicast(self) -> bool {
        matches!(self.get(), 0x0001..=0xbfff)
    }

    /// Returns `true` if this addresses a multicast group.
    #[inline]
    pub fn is_multicast(self) -> bool {
        matches!(self.get(), 0xc000..=0xfffe)
    }
}

impl GidPrefix {
    /// The prefix of a subnet that was given none: link-local, fe80::/64 (4.1.1).
    pub const DEFAULT: Self = Self::new(0xfe80_0000_0000_0000);
}

impl PKey {
    /// The invalid key, which matches no other (10.9.1).
    pub const INVALID: Self = Self::new(0);
    /// Full member of the default partition (10.9.1.1).
    pub const DEFAULT: Self = Self::new(0xffff);
    /// Limited member of the default partition.
    pub const DEFAULT_LIMITED: Self = Self::new(0x7fff);

    /// The partition that this key is of: the lower 15 bits.
    #[inline]
    pub const fn base(self) -> u16 {
        self.get() & 0x7fff
    }

    /// Returns `true` if this is the key of a full member.
    #[inline]
    pub const fn is_full_member(self) -> bool {
        self.get() & 0x8000 != 0
    }

    /// Returns `true` if this key's base value is the invalid one.
    #[inline]
    pub const fn is_invalid(self) -> bool {
        self.base() == 0
    }

    /// Returns `true` if ports with these keys may talk (10.9.3): one partition, and at least one full member.
    #[inline]
    pub const fn matches(self, other: Self) -> bool {
        self.base() == other.base() && !self.is_invalid() && (self.is_full_member() || other.is_full_member())
    }
}

impl QKey {
    /// The well-known key of queue pair 1.
    pub const GSI: Self = Self::new(0x8001_0000);
}

impl Qpn {
    /// Queue pair 0: subnet management.
    pub const SMI: Self = Self::new(0);
    /// Queue pair 1: general services.
    pub const GSI: Self = Self::new(1);
    /// The destination of multicast packets.
    pub const MULTICAST: Self = Self::new(0xff_ffff);
}

impl Vl {
    /// The lane of subnet management: without flow control, and never a data lane (7.6.4).
    pub const MANAGEMENT: Self = Self::new(15);
}

impl PortNum {
    /// A switch's management port.
    pub const MANAGEMENT: Self = Self::new(0);
    /// In a forwarding table: no port, discard (14.2.5.10). In PortInfo's modifiers never a port.
    pub const DISCARD: Self = Self::new(0xff);
}

values! {
    /// Kind of node or manager that produced a notice, 24 bits (13.4.8.2).
    ProducerType: u32, 3;
    /// A channel adapter.
    CHANNEL_ADAPTER = 1 "Channel Adapter";
    /// A switch.
    SWITCH = 2 "Switch";
    /// A router.
    ROUTER = 3 "Router";
    /// A class manager.
    CLASS_MANAGER = 4 "Class Manager";
}

bit_field! { Sl Vl }

/// Global identifier of a port or a multicast group: an IPv6 address (4.1.1).
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Gid {
    /// The subnet, for a port's GID.
    pub prefix: GidPrefix,
    /// The port, for a port's GID.
    pub guid: Guid,
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: [u8; 16] = zerocopy::transmute!(*self);
        core::net::Ipv6Addr::from(bytes).fmt(f)
    }
}

impl fmt::Debug for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gid({self})")
    }
}
