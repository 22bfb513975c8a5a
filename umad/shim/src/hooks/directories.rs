//! Directory streams and listings.

use std::ffi::{c_char, c_int, c_void};
use std::{mem, ptr};

use libc::{DIR, dirent};
use rustix::io::Errno;

use super::next::{Compare, Filter};
use super::{answer, next, ours};
use crate::directory::Directory;
use crate::process;
use crate::sysfs::Entry;

/// Opens a directory stream.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn opendir(path: *const c_char) -> *mut DIR {
    // SAFETY: a C string or null, as the program promises.
    match unsafe { ours(path) } {
        Some(path) => answer(ptr::null_mut(), || {
            Ok(ptr::without_provenance_mut(process::get_or_init().open_directory(list(path)?)))
        }),
        // SAFETY: the program's own argument.
        None => unsafe { next::opendir(path) },
    }
}

/// Reads the next entry of a directory stream.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn readdir(stream: *mut DIR) -> *mut dirent {
    let entry = |directory: &mut Directory| directory.next().map_or(ptr::null_mut(), ptr::from_mut);
    let ours = process::current().and_then(|process| process.with_directory(stream.addr(), entry));
    match ours {
        Some(entry) => entry,
        // SAFETY: the program's own argument.
        None => unsafe { next::readdir(stream) },
    }
}

/// Reads the next entry of a directory stream.
///
/// # Safety
///
/// As [`readdir`], to which it is equal where `off_t` has 64 bits.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn readdir64(stream: *mut DIR) -> *mut dirent {
    // SAFETY: the program's own argument.
    unsafe { readdir(stream) }
}

/// Starts a directory stream again.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn rewinddir(stream: *mut DIR) {
    let ours = process::current().and_then(|process| process.with_directory(stream.addr(), Directory::rewind));
    if ours.is_none() {
        // SAFETY: the program's own argument.
        unsafe { next::rewinddir(stream) }
    }
}

/// Closes a directory stream.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn closedir(stream: *mut DIR) -> c_int {
    if process::current().is_some_and(|process| process.close_directory(stream.addr())) {
        return 0;
    }
    // SAFETY: the program's own argument.
    unsafe { next::closedir(stream) }
}

/// Lists a directory.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn scandir(
    path: *const c_char,
    to: *mut *mut *mut dirent,
    filter: Option<Filter>,
    compare: Option<Compare>,
) -> c_int {
    // SAFETY: a C string or null, as the program promises.
    match unsafe { ours(path) } {
        Some(path) => answer(-1, || {
            let entries = list(path)?.into_entries();
            // SAFETY: the program promises room for the list and functions that only read entries.
            unsafe { copy_out(&entries, to, filter, compare) }
        }),
        // SAFETY: the program's own arguments.
        None => unsafe { next::scandir(path, to, filter, compare) },
    }
}

/// Lists a directory.
///
/// # Safety
///
/// As [`scandir`], to which it is equal where `off_t` has 64 bits.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn scandir64(
    path: *const c_char,
    to: *mut *mut *mut dirent,
    filter: Option<Filter>,
    compare: Option<Compare>,
) -> c_int {
    // SAFETY: the program's own arguments.
    unsafe { scandir(path, to, filter, compare) }
}

/// Creates a stream over the library's directory at `path`.
fn list(path: &[u8]) -> Result<Directory, Errno> {
    match process::get_or_init().lookup(path)? {
        Entry::Directory(names) => Ok(Directory::new(&names)),
        _ => Err(Errno::NOTDIR),
    }
}

/// Copies the entries that `filter` selects to memory that the program frees, sorts them, and returns their number.
///
/// # Safety
///
/// `to` can be written, and the functions can be called with entries.
unsafe fn copy_out(
    entries: &[dirent],
    to: *mut *mut *mut dirent,
    filter: Option<Filter>,
    compare: Option<Compare>,
) -> Result<c_int, Errno> {
    // SAFETY: the caller's functions get entries; the C library's memory is checked, and filled entry by entry up to
    // its length.
    unsafe {
        let list = libc::calloc(entries.len().max(1), size_of::<*mut dirent>()).cast::<*mut dirent>();
        if list.is_null() {
            return Err(Errno::NOMEM);
        }
        let mut count = 0;
        for entry in entries.iter().filter(|&entry| filter.is_none_or(|filter| filter(entry) != 0)) {
            let copy = libc::malloc(size_of::<dirent>()).cast::<dirent>();
            if copy.is_null() {
                (0..count).for_each(|at| libc::free((*list.add(at)).cast()));
                libc::free(list.cast());
                return Err(Errno::NOMEM);
            }
            ptr::copy_nonoverlapping(entry, copy, 1);
            *list.add(count) = copy;
            count += 1;
        }
        if let Some(compare) = compare {
            type OfAnything = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;
            let compare = mem::transmute::<Compare, OfAnything>(compare);
            libc::qsort(list.cast(), count, size_of::<*mut dirent>(), Some(compare));
        }
        *to = list;
        c_int::try_from(count).map_err(|_| Errno::OVERFLOW)
    }
}
