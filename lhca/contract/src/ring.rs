//! A ring's control, and its size. Offsets are from the ring's start.

/// `u32`, producer: entries produced so far.
pub const PRODUCED: usize = 0x00;
/// `u32`, producer: event index: notify the producer when this entry is consumed.
pub const SPACE_EVENT: usize = 0x04;
/// `u32`, consumer: entries consumed so far.
pub const CONSUMED: usize = 0x40;
/// `u32`, consumer: event index: notify the consumer when this entry is produced.
pub const DATA_EVENT: usize = 0x44;
/// The entries.
pub const ENTRIES: usize = 0x80;

/// A ring begins at a multiple of this, so that neither control word nor entry lies on two pages.
pub const ALIGNMENT: usize = 64;

/// A ring has at least 2 to this power entries.
pub const MIN_LOG_ENTRIES: u8 = 1;

/// A ring has at most 2 to this power entries.
pub const MAX_LOG_ENTRIES: u8 = 15;

/// Bytes that a ring of 2 to the power `log_entries` entries of `entry` bytes takes.
#[must_use]
pub const fn bytes(log_entries: u8, entry: usize) -> usize {
    ENTRIES + (entry << log_entries)
}

/// Where the entry with free-running index `index` begins, of `entry` bytes in a ring of 2 to the power `log_entries`.
#[must_use]
pub const fn entry_offset(log_entries: u8, entry: usize, index: u32) -> usize {
    ENTRIES + (index & ((1 << log_entries) - 1)) as usize * entry
}

/// Returns `true` if publishing the indices after `before` up to `published` passes the other side's `event` index.
#[must_use]
pub const fn notify(event: u32, published: u32, before: u32) -> bool {
    published.wrapping_sub(event).wrapping_sub(1) < published.wrapping_sub(before)
}

const _: () = {
    assert!(ENTRIES.is_multiple_of(ALIGNMENT));
    assert!(CONSUMED >= PRODUCED + 64, "producer's and consumer's words lie in cache lines of their own");
    // The last two packets of a batch of three, then across the wrap.
    assert!(notify(1, 3, 0) && !notify(3, 3, 0) && notify(u32::MAX, 0, u32::MAX) && !notify(0, 0, u32::MAX));
};
