//! Lines of an answer: records, and the line that ends it.

use core::fmt;

use crate::error::UnknownLine;
use crate::record::Record;

/// One line of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerLine<'a> {
    /// A record; more lines follow.
    Record(Record<'a>),
    /// The last line.
    End(Ending<'a>),
}

/// Last line of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending<'a> {
    /// The request is carried out.
    Done,
    /// The request is refused for this reason, one line of text.
    Refused(&'a str),
}

impl<'a> AnswerLine<'a> {
    /// Parses a line without its line feed.
    ///
    /// # Errors
    /// [`UnknownLine`] if the line is neither a record nor an ending.
    pub fn parse(line: &'a str) -> Result<Self, UnknownLine<'a>> {
        match Ending::parse(line) {
            Some(ending) => Ok(Self::End(ending)),
            None => Record::parse(line).map(Self::Record),
        }
    }
}

impl fmt::Display for AnswerLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(record) => record.fmt(f),
            Self::End(ending) => ending.fmt(f),
        }
    }
}

impl<'a> Ending<'a> {
    /// Parses the last line of an answer. Returns `None` for any other line.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        match line {
            DONE => Some(Self::Done),
            _ => line.strip_prefix(REFUSED).map(Self::Refused),
        }
    }
}

impl fmt::Display for Ending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str(DONE),
            Self::Refused(reason) => write!(f, "{REFUSED}{reason}"),
        }
    }
}

const DONE: &str = "ok";
const REFUSED: &str = "error: ";
