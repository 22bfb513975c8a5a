//! Declaration of guests.

/// Address at which guests are loaded.
pub(crate) const ADDRESS: u64 = 0x10_0000;

/// Declares guests: a name and its code.
macro_rules! guests {
    ($($(#[$doc:meta])* $name:ident: $code:expr;)*) => { $(
        core::arch::global_asm!(
            concat!(".section .rodata.guests, \"a\"\n", stringify!($name), "_start:"),
            $code,
            concat!(stringify!($name), "_end:\n.text"),
        );

        $(#[$doc])*
        pub(crate) fn $name(memory: u64) -> portico_kernel::partition::image::Image<'static> {
            unsafe extern "C" {
                #[link_name = concat!(stringify!($name), "_start")]
                static START: u8;
                #[link_name = concat!(stringify!($name), "_end")]
                static END: u8;
            }
            let start = &raw const START;
            // SAFETY: the two symbols frame the code.
            let code = unsafe { core::slice::from_raw_parts(start, (&raw const END).offset_from_unsigned(start)) };
            portico_kernel::partition::image::Image::flat(code, $crate::guests::ADDRESS, memory).expect("the image fits")
        }
    )* };
}

pub(crate) use guests;
