//! Files: open, close, read, write and ioctl.

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::slice;

use libc::{FILE, mode_t, size_t, ssize_t};
use rustix::fs::{MemfdFlags, OFlags, SeekFrom, memfd_create, seek};
use rustix::io::Errno;
use zerocopy::byteorder::U32;

use super::{answer, next, ours};
use crate::abi::{self, RegisterRequest, RegisterRequest2};
use crate::file::UmadFile;
use crate::process::{self, Open};
use crate::session::Session;
use crate::sysfs::Entry;

/// Opens a path.
///
/// # Safety
///
/// As the C library's, which takes the mode as a variable argument. Without one, `mode` is any value; the hook passes
/// it on, and the next function ignores it too.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: a C string or null, as the program promises.
    match unsafe { ours(path) } {
        Some(path) => answer(-1, || open_path(path, flags)),
        // SAFETY: the program's own arguments.
        None => unsafe { next::open(path, flags, mode) },
    }
}

/// Opens a path.
///
/// # Safety
///
/// As [`open`], to which it is equal where `off_t` has 64 bits.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the program's own arguments.
    unsafe { open(path, flags, mode) }
}

/// Opens a path relative to a directory.
///
/// # Safety
///
/// As [`open`].
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn openat(at: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: a C string or null, as the program promises. The library's files have absolute paths, which need no
    // directory.
    match unsafe { ours(path) } {
        Some(path) => answer(-1, || open_path(path, flags)),
        // SAFETY: the program's own arguments.
        None => unsafe { next::openat(at, path, flags, mode) },
    }
}

/// Opens a path relative to a directory.
///
/// # Safety
///
/// As [`open`].
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn openat64(at: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the program's own arguments.
    unsafe { openat(at, path, flags, mode) }
}

/// Opens a path as a stream.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE {
    // SAFETY: a C string or null, as the program promises.
    match unsafe { ours(path) } {
        Some(path) => answer(std::ptr::null_mut(), || {
            let fd = open_path(path, libc::O_RDONLY)?;
            // SAFETY: a descriptor of the library's that is open, and a mode that the program promises to be a C
            // string.
            Ok(unsafe { libc::fdopen(fd, mode) })
        }),
        // SAFETY: the program's own arguments.
        None => unsafe { next::fopen(path, mode) },
    }
}

/// Opens a path as a stream.
///
/// # Safety
///
/// As [`fopen`].
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE {
    // SAFETY: the program's own arguments.
    unsafe { fopen(path, mode) }
}

/// Closes a descriptor.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn close(fd: c_int) -> c_int {
    if let Some(process) = process::current() {
        answer((), || {
            process.close(fd);
            Ok(())
        });
    }
    // SAFETY: the program's own argument.
    unsafe { next::close(fd) }
}

/// Reads from a descriptor.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn read(fd: c_int, buffer: *mut c_void, count: size_t) -> ssize_t {
    if !process::is_ours(fd) {
        // SAFETY: the program's own arguments.
        return unsafe { next::read(fd, buffer, count) };
    }
    answer(-1, || match find(fd)? {
        Open::Umad(_, file) if !buffer.is_null() => {
            // SAFETY: the program promises `count` bytes to write to. C has no uninitialised bytes, and the caller
            // reads only those that were written.
            let buffer = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), count) };
            file.read(buffer).map(usize::cast_signed)
        }
        _ => Err(Errno::INVAL),
    })
}

/// Writes to a descriptor.
///
/// # Safety
///
/// As the C library's.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn write(fd: c_int, buffer: *const c_void, count: size_t) -> ssize_t {
    if !process::is_ours(fd) {
        // SAFETY: the program's own arguments.
        return unsafe { next::write(fd, buffer, count) };
    }
    answer(-1, || match find(fd)? {
        Open::Umad(session, file) if !buffer.is_null() => {
            // SAFETY: the program promises `count` bytes to read.
            let bytes = unsafe { slice::from_raw_parts(buffer.cast::<u8>(), count) };
            session.write(&file, bytes).map(usize::cast_signed)
        }
        _ => Err(Errno::INVAL),
    })
}

/// Controls a device.
///
/// # Safety
///
/// As the C library's. It takes the argument as a variable one, as [`open`] takes the mode.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn ioctl(fd: c_int, request: u64, argument: *mut c_void) -> c_int {
    if !process::is_ours(fd) {
        // SAFETY: the program's own arguments.
        return unsafe { next::ioctl(fd, request, argument) };
    }
    answer(-1, || match find(fd)? {
        // SAFETY: the program promises the argument that the request names.
        Open::Umad(session, file) => unsafe { control(&session, &file, request, argument) },
        Open::Issm(_) => Err(Errno::NOTTY),
    })
}

/// Returns the kind of a descriptor of the library's.
fn find(fd: RawFd) -> Result<Open, Errno> {
    process::current().and_then(|process| process.find(fd)).ok_or(Errno::BADF)
}

/// Serves an ioctl of a umad file.
///
/// # Safety
///
/// `argument` is null, or points to the argument that `request` names.
unsafe fn control(session: &Session, file: &UmadFile, request: u64, argument: *mut c_void) -> Result<c_int, Errno> {
    if request == abi::ENABLE_PKEY {
        return file.enable_p_key().map(|()| 0);
    }
    if argument.is_null() {
        return Err(Errno::FAULT);
    }
    match request {
        abi::REGISTER_AGENT => {
            // SAFETY: the argument of this request, by the caller's promise; it has no alignment and any bytes are
            // valid.
            let request = unsafe { &mut *argument.cast::<RegisterRequest>() };
            request.id = U32::new(session.register(file, request.registration()?)?);
            file.had_agent(false);
        }
        abi::REGISTER_AGENT2 => {
            // SAFETY: as above.
            let request = unsafe { &mut *argument.cast::<RegisterRequest2>() };
            if request.flags.get() & !RegisterRequest2::FLAGS != 0 {
                request.flags = U32::new(RegisterRequest2::FLAGS);
                return Err(Errno::INVAL);
            }
            request.id = U32::new(session.register(file, request.registration()?)?);
            file.had_agent(true);
        }
        abi::UNREGISTER_AGENT => {
            // SAFETY: the argument of this request, by the caller's promise.
            session.unregister(file, unsafe { argument.cast::<u32>().read_unaligned() })?;
        }
        _ => return Err(Errno::NOTTY),
    }
    Ok(0)
}

/// Opens a file of the library's.
fn open_path(path: &[u8], flags: c_int) -> Result<RawFd, Errno> {
    let flags = OFlags::from_bits_retain(flags.cast_unsigned());
    let process = process::get_or_init();
    match process.lookup(path)? {
        Entry::Device(device) => process.open_device(device, flags),
        Entry::File(_) if flags.intersects(OFlags::WRONLY | OFlags::RDWR) => Err(Errno::ACCESS),
        Entry::File(text) => Ok(text_file(&text, flags)?.into_raw_fd()),
        Entry::Directory(_) => Err(Errno::ISDIR),
    }
}

/// Creates a file with this text, for one reader.
fn text_file(text: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let cloexec = if flags.contains(OFlags::CLOEXEC) { MemfdFlags::CLOEXEC } else { MemfdFlags::empty() };
    let fd = memfd_create(c"portico-umad", cloexec)?;
    rustix::io::write(&fd, text.as_bytes())?;
    seek(&fd, SeekFrom::Start(0))?;
    Ok(fd)
}
