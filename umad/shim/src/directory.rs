//! Streams over the library's directories.

use std::ffi::c_char;

/// Directory stream. Its address is the `DIR` pointer of the program.
#[derive(Debug)]
pub(crate) struct Directory {
    entries: Vec<libc::dirent>,
    next: usize,
}

impl Directory {
    /// Creates a stream over `.`, `..` and these names.
    pub(crate) fn new(names: &[String]) -> Self {
        let entries = [".", ".."].into_iter().chain(names.iter().map(String::as_str)).map(entry).collect();
        Self { entries, next: 0 }
    }

    /// Returns the next entry.
    pub(crate) fn next(&mut self) -> Option<&mut libc::dirent> {
        let entry = self.entries.get_mut(self.next)?;
        self.next += 1;
        Some(entry)
    }

    /// Goes back to the first entry.
    pub(crate) fn rewind(&mut self) {
        self.next = 0;
    }

    /// Returns all entries.
    pub(crate) fn into_entries(self) -> Vec<libc::dirent> {
        self.entries
    }
}

/// Returns an entry with this name, truncated to 255 bytes.
fn entry(name: &str) -> libc::dirent {
    let mut d_name = [0; 256];
    for (to, &from) in d_name[..255].iter_mut().zip(name.as_bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    const LEN: u16 = 280;
    const { assert!(size_of::<libc::dirent>() == LEN as usize) }
    libc::dirent { d_ino: 1, d_off: 0, d_reclen: LEN, d_type: libc::DT_UNKNOWN, d_name }
}
