//! Common parts of wire formats.

pub(crate) use zerocopy::big_endian::{U16, U32, U64};
pub(crate) use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A format of bytes in wire order: as long as on the wire, aligned to one byte, valid whatever the bytes are.
pub trait Format: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned {}

impl<T: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned> Format for T {}

/// The format at the front of a field that has room for it.
#[inline]
pub(crate) fn front<T: Format, const ROOM: usize>(field: &[u8; ROOM]) -> &T {
    const { assert!(size_of::<T>() <= ROOM) };
    match T::ref_from_prefix(field) {
        Ok((front, _)) => front,
        Err(_) => unreachable!(), // the assertion above, and there is no alignment to miss
    }
}

/// The format at the front of a field that has room for it, to be changed in place.
#[inline]
pub(crate) fn front_mut<T: Format, const ROOM: usize>(field: &mut [u8; ROOM]) -> &mut T {
    const { assert!(size_of::<T>() <= ROOM) };
    match T::mut_from_prefix(field) {
        Ok((front, _)) => front,
        Err(_) => unreachable!(), // as above
    }
}

/// Fills a field with a format that it has room for, and with zeros after it.
#[inline]
pub(crate) fn fill<T: Format, const ROOM: usize>(field: &mut [u8; ROOM], value: &T) {
    const { assert!(size_of::<T>() <= ROOM) };
    let (front, rest) = field.split_at_mut(size_of::<T>());
    front.copy_from_slice(value.as_bytes());
    rest.fill(0);
}

/// Defines wire formats: structs of bytes in wire order, with their size in bytes: `pub struct Name[size] { fields }`.
macro_rules! wire {
    ($($(#[$attribute:meta])* pub struct $name:ident[$size:literal] $fields:tt)*) => { $(
        $(#[$attribute])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq,
            $crate::wire::FromBytes, $crate::wire::IntoBytes, $crate::wire::KnownLayout, $crate::wire::Immutable,
            $crate::wire::Unaligned,
        )]
        #[repr(C)]
        pub struct $name $fields

        const _: () = assert!(size_of::<$name>() == $size && align_of::<$name>() == 1);
    )* };
}
