//! The contract of the logical host channel adapter (LHCA), between a partition and the hypervisor.
//!
//! Both sides depend on this crate and on nothing else of each other's: it holds numbers, layouts and names, and
//! decodes nothing. Numbers are little-endian as the processor has them; what has a form on the wire ([`iba`]'s types)
//! has it here too.
//!
//! # Discovery
//! CPUID says that there is a hypervisor (leaf 1, ECX bit 31), leaf [`cpuid::SIGNATURE_LEAF`] that it is this one, and
//! [`cpuid::VERSION_LEAF`] which [`VERSION`] it speaks. A partition refuses another major version.
//!
//! # Hypercalls
//! `VMMCALL` at privilege level 0, a [`Call`] in RAX, arguments in RDI, RSI and RDX. Afterwards RAX holds a [`Status`]
//! and RDX the value; no other register changes. An argument that is an address is partition-physical, aligned to 8,
//! and the whole structure lies in the partition's memory. The hypervisor copies it before it looks at it.
//!
//! # Queues
//! A queue is a ring in the partition's own memory: [`ring`] control and entries, aligned to 64. Its place, size, port
//! and companions are given at creation, and cannot be changed while it lives. Indices are free-running `u32`s; entry =
//! index modulo the ring's length, which is a power of two. As in `hca_contract`, a side that published an index
//! notifies the other only if the other's event index lies in what it just published ([`ring::notify`]), with a full
//! fence between publishing and looking, and between moving an event index and looking again. The partition is notified
//! by the interrupt that it gave the queue, the hypervisor by [`Call::DOORBELL`]. So a queue that is busy needs no exit
//! at all.
//!
//! | queue | producer | entries |
//! |---|---|---|
//! | send | partition | [`SendEntry`], 64 bytes |
//! | receive | partition | [`ReceiveEntry`], 64 bytes |
//! | completion | hypervisor | [`Completion`], 32 bytes |
//! | event | hypervisor | [`Event`], 16 bytes |
//!
//! Each work entry that was consumed gives exactly one completion. The hypervisor consumes one only where the
//! completion has room, so that none is ever lost: entries stay in their queue until the partition has made room.
//!
//! # Handles
//! What a partition creates it names by a [`Handle`], part of which counts how often its place was used. A handle of
//! something that was destroyed is refused, and never means its successor.
//!
//! The same part is in the upper 16 bits of the number that a queue pair for datagrams has in the subnet. It goes on
//! over the partition's end: nothing that was meant for a partition reaches a queue pair of its successor, unless it
//! was started 65535 times meanwhile. So who was started again has other numbers than before, and tells them anew.
#![no_std]
#![forbid(unsafe_code)]

mod call;
mod entry;
mod object;
pub mod ring;

pub use call::{Call, Status};
pub use entry::{
    Completion, CompletionFlags, CompletionKind, CompletionStatus, Event, EventKind, ReceiveEntry, Segment, SendEntry,
    WorkFlags,
};
pub use object::{
    Access, Exits, Handle, HcaAttributes, InformationPage, MemoryRegion, MulticastGroup, OwnHca, PortAttributes,
    PortChange, QueueConfig, QueuePairAttributes, QueuePairChange, QueuePairConfig, QueuePairFields, QueuePairKind,
    QueuePairState,
};

#[cfg(not(target_endian = "little"))]
compile_error!("the contract's numbers are little-endian, and its structures hold them as they stand");

/// Version of the contract: major << 16 | minor. The minor one counts what was added, which an older hypervisor does
/// not know.
pub const VERSION: u32 = 1 << 16 | 1;

/// CPUID leaves by which a partition detects the hypervisor.
pub mod cpuid {
    /// Leaf whose EBX, ECX and EDX hold [`SIGNATURE`], and EAX the last leaf of this kind.
    pub const SIGNATURE_LEAF: u32 = 0x4000_0000;
    /// The hypervisor's signature.
    pub const SIGNATURE: [u8; 12] = *b"PorticoLHCA\0";
    /// Leaf whose EAX holds [`crate::VERSION`]; EBX, ECX and EDX are 0.
    pub const VERSION_LEAF: u32 = 0x4000_0001;
}

/// Defines an open set of named values: an unknown one is a value like any other.
macro_rules! values {
    ($($(#[$doc:meta])* $name:ident: $native:ident { $($(#[$value_doc:meta])* $value:ident = $number:literal,)* })*) => { $(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, Hash,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name(pub $native);

        impl $name {
            $($(#[$value_doc])* pub const $value: Self = Self($number);)*

            /// The value's name, if it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($value)),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, "{:#x}", self.0),
                }
            }
        }
    )* };
}
use values;
