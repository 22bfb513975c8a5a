//! A directory stream over one of our directories.

use std::ffi::c_char;

/// A directory stream. Its address stands for it where the C library would give one of its own.
#[derive(Debug)]
pub(crate) struct Directory {
    entries: Vec<libc::dirent>,
    next: usize,
}

impl Directory {
    /// A stream over these names, and over the two that every directory has.
    pub(crate) fn new(names: &[String]) -> Self {
        let entries = [".", ".."].into_iter().chain(names.iter().map(String::as_str)).map(entry).collect();
        Self { entries, next: 0 }
    }

    /// The next entry.
    pub(crate) fn next(&mut self) -> Option<&mut libc::dirent> {
        let entry = self.entries.get_mut(self.next)?;
        self.next += 1;
        Some(entry)
    }

    /// Starts again.
    pub(crate) fn rewind(&mut self) {
        self.next = 0;
    }

    /// All entries.
    pub(crate) fn into_entries(self) -> Vec<libc::dirent> {
        self.entries
    }
}

/// An entry with this name, cut off where the C library has no more room.
fn entry(name: &str) -> libc::dirent {
    let mut d_name = [0; 256];
    for (to, &from) in d_name[..255].iter_mut().zip(name.as_bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    const LEN: u16 = 280;
    const { assert!(size_of::<libc::dirent>() == LEN as usize) }
    libc::dirent { d_ino: 1, d_off: 0, d_reclen: LEN, d_type: libc::DT_UNKNOWN, d_name }
}
