//! The C library's functions, in place of its own: what is ours is done here, everything else is passed on.
//!
//! They stand in other programs' way, so they are frugal: they look at a path's first bytes or at one flag of a
//! descriptor, and nothing is set up before something of ours is opened. A thread may be cancelled within a function
//! that is passed on, which unwinds through the hook: there is nothing to drop there then, and the ABI allows it.

// Pointers that C programs pass, and functions under names that they know.
#![allow(unsafe_code)]

pub mod directories;
pub mod files;
mod next;
pub mod status;

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::io::Errno;

use crate::sysfs;

/// The path, if it is one of ours.
///
/// # Safety
///
/// `path` is null or a C string that lives as long as the result is used.
unsafe fn ours<'a>(path: *const c_char) -> Option<&'a [u8]> {
    if path.is_null() {
        return None;
    }
    // SAFETY: a C string, says the caller.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    sysfs::is_ours(path).then_some(path)
}

/// Gives a C program the result of `act`, or `failure` and errno. A panic is an I/O error: it may not reach C.
fn answer<T>(failure: T, act: impl FnOnce() -> Result<T, Errno>) -> T {
    match catch_unwind(AssertUnwindSafe(act)).unwrap_or(Err(Errno::IO)) {
        Ok(result) => result,
        Err(error) => {
            set_errno(error);
            failure
        }
    }
}

fn set_errno(error: Errno) {
    // SAFETY: the C library's own variable, of this thread.
    unsafe { *libc::__errno_location() = error.raw_os_error() };
}
