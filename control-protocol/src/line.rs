//! Framing: lines out of received bytes.

use heapless::Vec;

/// Longest line in bytes, without its line feed.
pub const MAX_LINE: usize = 1024;

/// Received line, without its line feed.
pub type Line = heapless::String<MAX_LINE>;

/// Splits received bytes into lines.
///
/// A line ends with a line feed; carriage returns before it are removed. A line that is longer than [`MAX_LINE`] or not
/// UTF-8 is dropped and counted.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8, MAX_LINE>,
    has_overflowed: bool,
    dropped: u32,
}

impl LineBuffer {
    /// Adds a byte. Returns the line that the byte completes, if it completes one.
    pub fn push(&mut self, byte: u8) -> Option<Line> {
        if byte != b'\n' {
            self.has_overflowed |= self.bytes.push(byte).is_err();
            return None;
        }
        let bytes = core::mem::take(&mut self.bytes);
        let text = core::str::from_utf8(&bytes).ok().map(|text| text.trim_end_matches('\r'));
        let line = text.filter(|_| !self.has_overflowed).and_then(|text| Line::try_from(text).ok());
        self.has_overflowed = false;
        if line.is_none() {
            self.dropped = self.dropped.saturating_add(1);
        }
        line
    }

    /// Returns the number of dropped lines; saturating.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn lines(buffer: &mut LineBuffer, bytes: &[u8]) -> Vec<String> {
        bytes.iter().filter_map(|byte| buffer.push(*byte)).map(|line| line.as_str().to_owned()).collect()
    }

    #[test]
    fn line_in_pieces_is_joined() {
        let mut buffer = LineBuffer::default();
        assert_eq!(lines(&mut buffer, b"port 3 "), Vec::<String>::new());
        assert_eq!(lines(&mut buffer, b"down\r\n\nlist\nx"), ["port 3 down", "", "list"]);
        assert_eq!(buffer.dropped(), 0);
    }

    #[test]
    fn invalid_line_is_dropped_and_the_next_is_read() {
        let mut buffer = LineBuffer::default();
        let long = [b'x'; MAX_LINE + 1];
        assert_eq!(lines(&mut buffer, &long), Vec::<String>::new());
        assert_eq!(lines(&mut buffer, b"\nnext\n\xff\nlast\n"), ["next", "last"]);
        assert_eq!(buffer.dropped(), 2);
        assert_eq!(lines(&mut buffer, &long[1..]), Vec::<String>::new());
        assert_eq!(lines(&mut buffer, b"\n").concat().len(), MAX_LINE, "the longest line is accepted");
    }
}
