//! Status of files and access to them, without opening them.

use std::ffi::{c_char, c_int, c_uint};
use std::mem;

use libc::{stat as Stat, statx as Statx};
use rustix::io::Errno;

use super::{answer, next, ours};
use crate::process;
use crate::sysfs::Entry;

/// Returns the status of the file at a path.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn stat(path: *const c_char, status: *mut Stat) -> c_int {
    // SAFETY: a C string or null, as the program promises.
    match unsafe { ours(path) } {
        Some(path) => answer(-1, || {
            let found = status_of(path)?;
            // SAFETY: the program promises room for it.
            unsafe { status.write(found) };
            Ok(0)
        }),
        // SAFETY: the program's own arguments.
        None => unsafe { next::stat(path, status) },
    }
}

/// Returns the status of the file at a path.
///
/// # Safety
///
/// As [`stat`], to which it is equal where `off_t` has 64 bits.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn stat64(path: *const c_char, status: *mut Stat) -> c_int {
    // SAFETY: the program's own arguments.
    unsafe { stat(path, status) }
}

/// Returns the status of the file at a path, without following a link.
///
/// # Safety
///
/// As [`stat`]: the library's files have no links.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn lstat(path: *const c_char, status: *mut Stat) -> c_int {
    // SAFETY: a C string or null, as the program promises.
    if unsafe { ours(path) }.is_some() {
        // SAFETY: the program's own arguments.
        return unsafe { stat(path, status) };
    }
    // SAFETY: the program's own arguments.
    unsafe { next::lstat(path, status) }
}

/// Returns the status of the file at a path, without following a link.
///
/// # Safety
///
/// As [`lstat`].
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn lstat64(path: *const c_char, status: *mut Stat) -> c_int {
    // SAFETY: the program's own arguments.
    unsafe { lstat(path, status) }
}

/// Returns the status of the file at a path relative to a directory.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn fstatat(at: c_int, path: *const c_char, status: *mut Stat, flags: c_int) -> c_int {
    // SAFETY: a C string or null, as the program promises. The library's files have absolute paths, which need no
    // directory.
    if unsafe { ours(path) }.is_some() {
        // SAFETY: the program's own arguments.
        return unsafe { stat(path, status) };
    }
    // SAFETY: the program's own arguments.
    unsafe { next::fstatat(at, path, status, flags) }
}

/// Returns the status of the file at a path relative to a directory.
///
/// # Safety
///
/// As [`fstatat`], to which it is equal where `off_t` has 64 bits.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn fstatat64(at: c_int, path: *const c_char, status: *mut Stat, flags: c_int) -> c_int {
    // SAFETY: the program's own arguments.
    unsafe { fstatat(at, path, status, flags) }
}

/// Returns the extended status of the file at a path relative to a directory.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn statx(
    at: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    status: *mut Statx,
) -> c_int {
    // SAFETY: a C string or null, as the program promises.
    match unsafe { ours(path) } {
        Some(path) => answer(-1, || {
            let found = status_of(path)?;
            // SAFETY: a plain C struct, of which all bits 0 are a value.
            let mut extended: Statx = unsafe { mem::zeroed() };
            extended.stx_mask = libc::STATX_TYPE | libc::STATX_MODE | libc::STATX_NLINK | libc::STATX_SIZE;
            // The type and the mode fill 16 bits.
            extended.stx_mode = u16::try_from(found.st_mode).unwrap_or_default();
            extended.stx_nlink = 1;
            extended.stx_size = found.st_size.cast_unsigned();
            (extended.stx_rdev_major, extended.stx_rdev_minor) =
                (libc::major(found.st_rdev), libc::minor(found.st_rdev));
            // SAFETY: the program promises room for it.
            unsafe { status.write(extended) };
            Ok(0)
        }),
        // SAFETY: the program's own arguments.
        None => unsafe { next::statx(at, path, flags, mask, status) },
    }
}

/// Checks the access to the file at a path.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn access(path: *const c_char, mode: c_int) -> c_int {
    // SAFETY: a C string or null, as the program promises.
    match unsafe { ours(path) } {
        Some(path) => answer(-1, || match process::get_or_init().lookup(path)? {
            Entry::File(_) if mode & (libc::W_OK | libc::X_OK) != 0 => Err(Errno::ACCESS),
            _ => Ok(0),
        }),
        // SAFETY: the program's own arguments.
        None => unsafe { next::access(path, mode) },
    }
}

/// Checks the access to the file at a path relative to a directory.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn faccessat(at: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int {
    // SAFETY: a C string or null, as the program promises.
    if unsafe { ours(path) }.is_some() {
        // SAFETY: the program's own arguments.
        return unsafe { access(path, mode) };
    }
    // SAFETY: the program's own arguments.
    unsafe { next::faccessat(at, path, mode, flags) }
}

/// Returns the status of a file of the library's.
fn status_of(path: &[u8]) -> Result<Stat, Errno> {
    // SAFETY: a plain C struct, of which all bits 0 are a value.
    let mut status: Stat = unsafe { mem::zeroed() };
    status.st_nlink = 1;
    match process::get_or_init().lookup(path)? {
        Entry::File(text) => {
            status.st_mode = libc::S_IFREG | 0o444;
            status.st_size = text.len() as i64;
        }
        Entry::Directory(_) => status.st_mode = libc::S_IFDIR | 0o755,
        Entry::Device(device) => {
            // The numbers that the kernel gives the files.
            const MAJOR: u32 = 231;
            status.st_mode = libc::S_IFCHR | 0o600;
            status.st_rdev = libc::makedev(MAJOR, device.minor());
        }
    }
    Ok(status)
}
