//! The next function of each name: the one that the program would have called without this library.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::{mem, ptr};

use libc::{DIR, FILE, dirent, mode_t, size_t, ssize_t, stat as Stat, statx as Statx};
use rustix::io::Errno;

/// Selects the entries of a directory to list: those for which it returns other than 0.
pub(super) type Filter = unsafe extern "C-unwind" fn(*const dirent) -> c_int;

/// Compares two entries of a directory, as `qsort` does.
pub(super) type Compare = unsafe extern "C-unwind" fn(*mut *const dirent, *mut *const dirent) -> c_int;

/// Defines functions that call the next one of their name, or fail with ENOSYS if none exists.
macro_rules! next {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty, or $failure:expr;)*) => { $(
        /// Calls the next function of this name.
        ///
        /// # Safety
        ///
        /// As the C library's function of this name.
        pub(super) unsafe fn $name($($argument: $type),*) -> $result {
            static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
            const NAME: &CStr = match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => panic!("a name has no NUL"),
            };
            let mut next = NEXT.load(Ordering::Relaxed);
            if next.is_null() {
                // SAFETY: the name is a C string.
                next = unsafe { libc::dlsym(libc::RTLD_NEXT, NAME.as_ptr()) };
                if next.is_null() {
                    super::set_errno(Errno::NOSYS);
                    return $failure;
                }
                NEXT.store(next, Ordering::Relaxed);
            }
            // SAFETY: a function of this name in the C library has this type.
            let next: unsafe extern "C-unwind" fn($($type),*) -> $result = unsafe { mem::transmute(next) };
            // SAFETY: the caller keeps the function's contract.
            unsafe { next($($argument),*) }
        }
    )* };
}

next! {
    open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int, or -1;
    openat(directory: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int, or -1;
    fopen(path: *const c_char, mode: *const c_char) -> *mut FILE, or ptr::null_mut();
    close(fd: c_int) -> c_int, or -1;
    read(fd: c_int, buffer: *mut c_void, count: size_t) -> ssize_t, or -1;
    write(fd: c_int, buffer: *const c_void, count: size_t) -> ssize_t, or -1;
    ioctl(fd: c_int, request: u64, argument: *mut c_void) -> c_int, or -1;
    opendir(path: *const c_char) -> *mut DIR, or ptr::null_mut();
    readdir(stream: *mut DIR) -> *mut dirent, or ptr::null_mut();
    rewinddir(stream: *mut DIR) -> (), or Default::default();
    closedir(stream: *mut DIR) -> c_int, or -1;
    scandir(path: *const c_char, list: *mut *mut *mut dirent, filter: Option<Filter>, compare: Option<Compare>)
        -> c_int, or -1;
    stat(path: *const c_char, status: *mut Stat) -> c_int, or -1;
    lstat(path: *const c_char, status: *mut Stat) -> c_int, or -1;
    fstatat(directory: c_int, path: *const c_char, status: *mut Stat, flags: c_int) -> c_int, or -1;
    statx(directory: c_int, path: *const c_char, flags: c_int, mask: c_uint, status: *mut Statx) -> c_int, or -1;
    access(path: *const c_char, mode: c_int) -> c_int, or -1;
    faccessat(directory: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int, or -1;
}
