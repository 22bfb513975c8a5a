//! Guests: tiny images for partitions. Each is position-independent code, loaded at [`ADDRESS`] and entered at its
//! first byte.

pub(crate) mod basic;
mod image;
pub(crate) mod interrupts;
pub(crate) mod privilege;
pub(crate) mod registers;

pub(crate) use image::ADDRESS;
