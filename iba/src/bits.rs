//! Bit-fields of wire formats.
//!
//! Each field is named once, with the word that holds it and its bits as the specification numbers them: bit 0 is the
//! word's least significant bit.

use crate::wire::{U16, U32};

/// A word of a wire format that holds bit-fields.
pub(crate) trait Word: Copy {
    /// The word as a number.
    fn load(self) -> u32;
    /// The word of a number; bits that do not fit are dropped.
    fn store(bits: u32) -> Self;
}

impl Word for u8 {
    #[inline]
    fn load(self) -> u32 {
        self.into()
    }
    #[inline]
    fn store(bits: u32) -> Self {
        bits.to_be_bytes()[3]
    }
}

impl Word for U16 {
    #[inline]
    fn load(self) -> u32 {
        self.get().into()
    }
    #[inline]
    fn store(bits: u32) -> Self {
        let [_, _, high, low] = bits.to_be_bytes();
        Self::from_bytes([high, low])
    }
}

impl Word for U32 {
    #[inline]
    fn load(self) -> u32 {
        self.get()
    }
    #[inline]
    fn store(bits: u32) -> Self {
        Self::new(bits)
    }
}

/// A type that the value of a bit-field can have.
pub(crate) trait Field {
    /// The value of a field's bits.
    fn from_bits(bits: u32) -> Self;
    /// The bits of a value, perhaps more than a field has room for.
    fn into_bits(self) -> u32;
}

impl Field for bool {
    #[inline]
    fn from_bits(bits: u32) -> Self {
        bits != 0
    }
    #[inline]
    fn into_bits(self) -> u32 {
        self.into()
    }
}

impl Field for u8 {
    #[inline]
    fn from_bits(bits: u32) -> Self {
        Word::store(bits)
    }
    #[inline]
    fn into_bits(self) -> u32 {
        self.into()
    }
}

impl Field for u16 {
    #[inline]
    fn from_bits(bits: u32) -> Self {
        U16::store(bits).get()
    }
    #[inline]
    fn into_bits(self) -> u32 {
        self.into()
    }
}

impl Field for u32 {
    #[inline]
    fn from_bits(bits: u32) -> Self {
        bits
    }
    #[inline]
    fn into_bits(self) -> u32 {
        self
    }
}

/// Reads bits `low..=high` of `word`.
#[inline]
pub(crate) fn get<W: Word, F: Field>(word: W, high: u32, low: u32) -> F {
    F::from_bits(word.load() >> low & mask(high, low))
}

/// Writes bits `low..=high` of `word`, and no other.
#[inline]
pub(crate) fn set<W: Word, F: Field>(word: &mut W, high: u32, low: u32, value: F) {
    let mask = mask(high, low);
    *word = W::store(word.load() & !(mask << low) | (value.into_bits() & mask) << low);
}

/// As many ones as bits `low..=high` are.
#[inline]
const fn mask(high: u32, low: u32) -> u32 {
    u32::MAX >> (31 - (high - low))
}

/// Getters and setters of bit-fields: `getter, setter: Type = word[high, low];`.
macro_rules! bits {
    ($owner:ident { $($(#[$doc:meta])* $get:ident, $set:ident: $type:ty = $word:ident[$high:literal, $low:literal];)* }) => {
        impl $owner {
            $(
                $(#[$doc])*
                #[inline]
                pub fn $get(&self) -> $type {
                    $crate::bits::get(self.$word, $high, $low)
                }

                #[doc = concat!("Sets [`Self::", stringify!($get), "`].")]
                #[inline]
                pub fn $set(&mut self, value: $type) {
                    $crate::bits::set(&mut self.$word, $high, $low, value);
                }
            )*
        }
    };
}

/// Makes one-byte numbers fit to be the value of a bit-field.
macro_rules! bit_field {
    ($($name:ident)*) => { $(
        impl $crate::bits::Field for $name {
            #[inline]
            fn from_bits(bits: u32) -> Self {
                Self::new($crate::bits::Field::from_bits(bits))
            }
            #[inline]
            fn into_bits(self) -> u32 {
                self.get().into()
            }
        }
    )* };
}

/// Makes flags fit to be the value of a bit-field.
macro_rules! flags_field {
    ($($name:ident)*) => { $(
        impl $crate::bits::Field for $name {
            #[inline]
            fn from_bits(bits: u32) -> Self {
                Self::from_bits_retain($crate::bits::Field::from_bits(bits))
            }
            #[inline]
            fn into_bits(self) -> u32 {
                self.bits().into()
            }
        }
    )* };
}
