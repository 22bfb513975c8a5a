//! What is wrong with a configuration, and where.

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use thiserror::Error;

/// What is wrong with a configuration: its place, what stands there, and what may stand there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}, `{seen}`: {what}")]
pub struct Fault {
    place: String,
    seen: String,
    what: String,
}

/// What is wrong with the bytes `at` of a configuration.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: Range<usize>,
    pub(super) what: String,
}

/// Where a configuration stands.
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
    /// The configuration as a value, its keys and the kinds of their values checked.
    pub(super) fn deserialize<T: DeserializeOwned>(self) -> Result<T, Fault> {
        toml::from_str(self.text())
            .map_err(|error| self.fault(Wrong { at: error.span().unwrap_or(0..0), what: error.message().to_owned() }))
    }

    /// A fault, for people to read.
    pub(super) fn fault(self, Wrong { at, what }: Wrong) -> Fault {
        let text = self.text();
        let before = text.get(..at.start).unwrap_or(text);
        let line = before.matches('\n').count();
        let seen = text.lines().nth(line).unwrap_or_default().trim().to_owned();
        let place = match self {
            Self::File { file, .. } => format!("{}, line {}", file.display(), line + 1),
            Self::Words(_) => format!("word {}", line + 1),
        };
        Fault { place, seen, what }
    }

    fn text(&self) -> &str {
        match self {
            Self::File { text, .. } | Self::Words(text) => text,
        }
    }
}
