//! Lines out of bytes.

use heapless::Vec;

/// The longest line, in bytes.
pub const MAX_LINE: usize = 1024;

/// A line, without its end.
pub type Line = heapless::String<MAX_LINE>;

/// Gathers bytes into lines. A line ends with a line feed; a carriage return before it is dropped. What is too long or
/// no UTF-8 is dropped whole, and counted.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8, MAX_LINE>,
    overflown: bool,
    dropped: u32,
}

impl LineBuffer {
    /// Takes a byte, and gives the line that it ends, if it does.
    pub fn push(&mut self, byte: u8) -> Option<Line> {
        if byte != b'\n' {
            self.overflown |= self.bytes.push(byte).is_err();
            return None;
        }
        let bytes = core::mem::take(&mut self.bytes);
        let text = core::str::from_utf8(&bytes).ok().map(|text| text.trim_end_matches('\r'));
        let line = text.filter(|_| !self.overflown).and_then(|text| Line::try_from(text).ok());
        self.overflown = false;
        if line.is_none() {
            self.dropped = self.dropped.saturating_add(1);
        }
        line
    }

    /// How many lines were dropped.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(buffer: &mut LineBuffer, bytes: &[u8]) -> std::vec::Vec<String> {
        bytes.iter().filter_map(|byte| buffer.push(*byte)).map(|line| line.as_str().to_owned()).collect()
    }

    #[test]
    fn lines_come_whole() {
        let mut buffer = LineBuffer::default();
        assert_eq!(lines(&mut buffer, b"port 3 "), Vec::<String>::new());
        assert_eq!(lines(&mut buffer, b"down\r\n\nlist\nx"), ["port 3 down", "", "list"]);
        assert_eq!(buffer.dropped(), 0);
    }

    #[test]
    fn what_is_no_line_is_dropped_and_the_next_is_fine() {
        let mut buffer = LineBuffer::default();
        let long = [b'x'; MAX_LINE + 1];
        assert_eq!(lines(&mut buffer, &long), Vec::<String>::new());
        assert_eq!(lines(&mut buffer, b"\nnext\n\xff\nlast\n"), ["next", "last"]);
        assert_eq!(buffer.dropped(), 2);
        assert_eq!(lines(&mut buffer, &long[1..]), Vec::<String>::new());
        assert_eq!(lines(&mut buffer, b"\n").concat().len(), MAX_LINE, "the longest line is a line");
    }

    use std::vec::Vec;
}
