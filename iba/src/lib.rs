//! InfiniBand formats: headers, management datagrams (MADs), attributes and CRCs, as bytes and as types.
//!
//! Every format is a `#[repr(C)]` struct of bytes in wire order, as long as on the wire and aligned to one byte.
//! Decoding is a cast of a reference (the derives are [`zerocopy`]'s) and encoding is [`IntoBytes::as_bytes`]: what is
//! decoded and encoded again is the same bytes, reserved bits included, and no bytes of the right length are refused.
//! Fields that fill whole bytes are public; fields of a few bits have a getter and a setter, and a setter takes the low
//! bits of its argument that fit and touches nothing else. Values are open: one that the specification does not
//! name is a value like any other. Only [`packet`] judges, because it must find where headers end.
//!
//! Clauses ("14.2.5.6") are those of the InfiniBand Architecture Specification, volume 1, unless another is named.
//! Nothing here panics, allocates, or keeps state.
//!
//! [`IntoBytes::as_bytes`]: zerocopy::IntoBytes::as_bytes
#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod wire;
#[macro_use]
mod bits;
#[macro_use]
mod number;

pub mod attr;
pub mod bth;
pub mod crc;
pub mod deth;
pub mod grh;
pub mod lrh;
pub mod mad;
pub mod notice;
pub mod packet;
pub mod pma;
pub mod rmpp;
pub mod sa;
pub mod smp;

pub use number::{
    Gid, GidPrefix, Guid, Lid, MKey, PKey, PortNum, ProducerType, Psn, QKey, Qpn, Sl, SmKey, TransactionId, VendorId,
    Vl,
};
pub use wire::Format;
