//! The information page.

use lhca_contract::InformationPage;

/// Content of the information page.
///
/// An image's arguments are words, each `name` or `name=value`.
#[derive(Clone, Copy, Debug)]
pub struct Information<'a> {
    page: &'a InformationPage,
}

impl<'a> Information<'a> {
    /// Reads the information page.
    #[must_use]
    pub const fn new(page: &'a InformationPage) -> Self {
        Self { page }
    }

    /// The page itself.
    #[must_use]
    pub const fn page(&self) -> &'a InformationPage {
        self.page
    }

    /// The partition's name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        text(&self.page.name)
    }

    /// All arguments.
    #[must_use]
    pub fn arguments(&self) -> &'a str {
        text(&self.page.arguments)
    }

    /// Returns `true` if the word `name` is among the arguments.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.arguments().split_whitespace().any(|word| word == name)
    }

    /// The value of the argument `name`, if it is given.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a str> {
        let words = self.arguments().split_whitespace();
        words.filter_map(|word| word.split_once('=')).find(|&(word, _)| word == name).map(|(_, value)| value)
    }

    /// The value of the argument `name` as a number, decimal or with `0x` before it; `None` if it is not given or is
    /// none.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.value(name)?;
        match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        }
    }
}

/// The text before the first zero; nothing if that is none.
fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    core::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn arguments_are_words() {
        let mut page = InformationPage::new_zeroed();
        page.name[..5].copy_from_slice(b"first");
        let arguments = b"stay  peers=16 seed=0xfF name=a=b wrong=0xg";
        page.arguments[..arguments.len()].copy_from_slice(arguments);
        let information = Information::new(&page);
        assert_eq!(information.name(), "first");
        assert!(information.has("stay") && !information.has("peers"));
        assert_eq!(
            ["peers", "seed", "wrong", "none"].map(|name| information.number(name)),
            [Some(16), Some(255), None, None]
        );
        assert_eq!(information.value("name"), Some("a=b"));
        page.arguments.fill(0xff);
        assert_eq!(Information::new(&page).arguments(), "", "no text");
    }
}
