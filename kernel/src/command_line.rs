//! Words that steer the kernel: `key=value`, separated by spaces.

use alloc::string::String;

/// The kernel's command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine(String);

impl CommandLine {
    /// The command line in `bytes`, which may end with zeros or a line break. What is not UTF-8 is replaced.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(String::from(String::from_utf8_lossy(bytes).trim_end_matches(['\0', '\n', '\r'])))
    }

    /// The value of the first word that begins with `key=`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_a_key_counts() {
        let line = CommandLine::new(b"testing=no test=heap  log=debug test=other\n\0");
        assert_eq!(line.get("test"), Some("heap"));
        assert_eq!(line.get("log"), Some("debug"));
        assert_eq!(line.get("lo"), None);
        assert_eq!(line.get("heap"), None);
    }

    #[test]
    fn any_bytes_are_a_command_line() {
        assert_eq!(CommandLine::new(b"a=\xff\xfe").get("a"), Some("\u{fffd}\u{fffd}"));
        assert_eq!(CommandLine::new(b"").get(""), None);
    }
}
