//! A line of a netlist, read from left to right.

use super::fault::Fault;

/// The unread part of a line.
#[derive(Clone, Copy)]
pub(super) struct Rest<'a>(pub(super) &'a str);

impl<'a> Rest<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn starts_with(self, token: char) -> bool {
        self.0.starts_with(token)
    }

    pub(super) fn expected(self, expected: &'static str) -> Fault {
        Fault::Expected { expected, found: self.0.to_owned() }
    }

    /// Reads `token` and the blanks behind it; returns `false` if something else is next.
    pub(super) fn eat(&mut self, token: &str) -> bool {
        let found = self.0.strip_prefix(token);
        self.0 = found.map_or(self.0, str::trim_start);
        found.is_some()
    }

    /// Reads up to `end`, and `end`; returns the text before it.
    pub(super) fn until(&mut self, end: char, expected: &'static str) -> Result<&'a str, Fault> {
        let (taken, rest) = self.0.split_once(end).ok_or_else(|| self.expected(expected))?;
        self.0 = rest.trim_start();
        Ok(taken)
    }

    pub(super) fn quoted(&mut self, expected: &'static str) -> Result<&'a str, Fault> {
        let before = *self;
        if !self.eat("\"") {
            return Err(before.expected(expected));
        }
        match self.until('"', expected) {
            Ok("") | Err(_) => Err(before.expected(expected)),
            found => found,
        }
    }

    pub(super) fn bracketed(&mut self) -> Result<u64, Fault> {
        let before = *self;
        self.eat("[");
        let number = self.number("a port number in brackets")?;
        if self.eat("]") { Ok(number) } else { Err(before.expected("a port number in brackets")) }
    }

    /// Reads a decimal number, or a hexadecimal one behind `0x`.
    pub(super) fn number(&mut self, expected: &'static str) -> Result<u64, Fault> {
        let trimmed = self.0.trim_start();
        let (digits, radix) = trimmed.strip_prefix("0x").map_or((trimmed, 10), |digits| (digits, 16));
        let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        let number = u64::from_str_radix(&digits[..end], radix).map_err(|_| self.expected(expected))?;
        self.0 = digits[end..].trim_start();
        Ok(number)
    }

    /// Reads the comment that ends the line; returns an empty text without one.
    pub(super) fn comment(mut self) -> Result<&'a str, Fault> {
        if self.eat("#") { Ok(self.0) } else { self.end().map(|()| "") }
    }

    pub(super) fn end(self) -> Result<(), Fault> {
        if self.0.is_empty() || self.0.starts_with('#') {
            Ok(())
        } else {
            Err(self.expected("the end of the line or a comment"))
        }
    }
}
