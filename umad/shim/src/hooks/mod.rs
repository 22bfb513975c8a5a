//! Functions in place of the C library's. Those hooks serve the library's files, and call the next function of their
//! name for all others.
//!
//! A hook costs other programs little: it checks a path's first bytes or one flag of a descriptor, and sets up nothing
//! before the program opens a file of the library's. A thread may be cancelled within the next function, which unwinds
//! through the hook: the hook has nothing to drop then, and the ABI allows it.

// Pointers of C programs, and functions under the names of the C library's.
#![allow(unsafe_code)]

pub mod directories;
pub mod files;
mod next;
pub mod status;

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::io::Errno;

use crate::sysfs;

/// Returns the path, if it lies in a directory of the library's files.
///
/// # Safety
///
/// `path` is null or a C string that lives as long as the result is used.
unsafe fn ours<'a>(path: *const c_char) -> Option<&'a [u8]> {
    if path.is_null() {
        return None;
    }
    // SAFETY: the caller promises a C string.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    sysfs::is_ours(path).then_some(path)
}

/// Returns the result of `act`, or `failure` and errno. A panic becomes an I/O error: it may not reach C.
fn answer<T>(failure: T, act: impl FnOnce() -> Result<T, Errno>) -> T {
    match catch_unwind(AssertUnwindSafe(act)).unwrap_or(Err(Errno::IO)) {
        Ok(result) => result,
        Err(error) => {
            set_errno(error);
            failure
        }
    }
}

/// Sets errno of this thread.
fn set_errno(error: Errno) {
    // SAFETY: the C library's own variable, of this thread.
    unsafe { *libc::__errno_location() = error.raw_os_error() };
}
