//! Mistakes in a configuration, and their places.

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use thiserror::Error;

/// A mistake in a configuration: its place, the text there, and the text that is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}, `{seen}`: {reason}")]
pub struct Fault {
    place: String,
    seen: String,
    reason: String,
}

/// A mistake in the bytes `at` of a configuration.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) at: Range<usize>,
    pub(super) reason: String,
}

/// Text of a configuration, and where it comes from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    File {
        file: &'a Path,
        text: &'a str,
    },
    /// Words of the command line, one a line.
    Words(&'a str),
}

impl Source<'_> {
    /// Reads the configuration; checks its keys and the types of their values.
    pub(super) fn deserialize<T: DeserializeOwned>(self) -> Result<T, Fault> {
        toml::from_str(self.text()).map_err(|error| {
            self.fault(Mistake { at: error.span().unwrap_or(0..0), reason: error.message().to_owned() })
        })
    }

    /// Adds place and text to a mistake.
    pub(super) fn fault(self, Mistake { at, reason }: Mistake) -> Fault {
        let text = self.text();
        let before = text.get(..at.start).unwrap_or(text);
        let line = before.matches('\n').count();
        let seen = text.lines().nth(line).unwrap_or_default().trim().to_owned();
        let place = match self {
            Self::File { file, .. } => format!("{}, line {}", file.display(), line + 1),
            Self::Words(_) => format!("word {}", line + 1),
        };
        Fault { place, seen, reason }
    }

    fn text(&self) -> &str {
        match self {
            Self::File { text, .. } | Self::Words(text) => text,
        }
    }
}
