//! What a path leads to, without opening it.

use std::ffi::{c_char, c_int};
use std::mem;

use libc::stat as Stat;
use rustix::io::Errno;

use super::{answer, next, ours};
use crate::process;
use crate::sysfs::{Device, Entry};

/// Says what a path leads to.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn stat(path: *const c_char, status: *mut Stat) -> c_int {
    // SAFETY: a C string or null, as the program promises.
    match unsafe { ours(path) } {
        Some(path) => answer(-1, || {
            let found = look(path)?;
            // SAFETY: the program promises room for it.
            unsafe { status.write(found) };
            Ok(0)
        }),
        // SAFETY: the program's own arguments.
        None => unsafe { next::stat(path, status) },
    }
}

/// Says what a path leads to.
///
/// # Safety
///
/// As [`stat`], which it is where files are as long as memory.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn stat64(path: *const c_char, status: *mut Stat) -> c_int {
    // SAFETY: the program's own arguments.
    unsafe { stat(path, status) }
}

/// Says what a path leads to, a link itself.
///
/// # Safety
///
/// As [`stat`]: there are no links among our files.
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

/// Says what a path leads to, a link itself.
///
/// # Safety
///
/// As [`lstat`].
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn lstat64(path: *const c_char, status: *mut Stat) -> c_int {
    // SAFETY: the program's own arguments.
    unsafe { lstat(path, status) }
}

/// Says whether a path may be used.
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

/// The status of one of our paths.
fn look(path: &[u8]) -> Result<Stat, Errno> {
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
            // The numbers that the kernel gives the first port's files.
            const MAJOR: u32 = 231;
            status.st_mode = libc::S_IFCHR | 0o600;
            status.st_rdev = libc::makedev(MAJOR, if device == Device::Umad { 0 } else { 64 });
        }
    }
    Ok(status)
}
