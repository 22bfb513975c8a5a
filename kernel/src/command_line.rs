//! Command line of the kernel: words `key=value`, separated by spaces.

use alloc::string::String;

/// Command line of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine(String);

impl CommandLine {
    /// Creates the command line from `bytes`, without NULs and line breaks at the end. Replaces invalid UTF-8.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(String::from(String::from_utf8_lossy(bytes).trim_end_matches(['\0', '\n', '\r'])))
    }

    /// Returns the value of the first word `key=value`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_given_twice_has_its_first_value() {
        let line = CommandLine::new(b"testing=no test=heap  log=debug test=other\n\0");
        assert_eq!(line.get("test"), Some("heap"));
        assert_eq!(line.get("log"), Some("debug"));
        assert_eq!(line.get("lo"), None);
        assert_eq!(line.get("heap"), None);
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(CommandLine::new(b"a=\xff\xfe").get("a"), Some("\u{fffd}\u{fffd}"));
        assert_eq!(CommandLine::new(b"").get(""), None);
    }
}
