//! Requests.

use core::fmt;

use thiserror::Error;

use crate::place::Place;
use crate::value::LinkStatus;

/// Request of a client. `NAME` is an LHCA's name; it reaches to the end of the line and may have spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `version`: the version of the grammar.
    Version,
    /// `list`: the LHCAs, their partitions and their ports.
    List,
    /// `status`: the HCA, the logical switches, drops, and free resources.
    Status,
    /// `status NAME`: one LHCA as in `list`, its drops, its objects, and the VM exits of its partition.
    LhcaStatus(&'a str),
    /// `digest NAME`: a CRC-64 of a running partition's memory.
    Digest(&'a str),
    /// `port [UPLINK/]PORT up` or `down`: the cable of a logical switch's port.
    Port(Place, LinkStatus),
    /// `start NAME`: start the partition, or plug the ports of an LHCA without one.
    Start(&'a str),
    /// `stop NAME`: stop the partition, scrub its memory, and unplug its ports.
    Stop(&'a str),
    /// `restart NAME`: stop the partition if it runs, and start it.
    Restart(&'a str),
    /// `add ROW`: add an LHCA at the lowest free ports, and start its partition if its row says so.
    Add(Row<'a>),
    /// `remove NAME`: stop the partition, and remove its LHCA.
    Remove(&'a str),
}

/// Error for a line that is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError<'a> {
    /// The verb or its form is unknown.
    #[error(
        "cannot read the request: use `version`, `list`, `status [NAME]`, `digest NAME`, `start NAME`, `stop NAME`, \
         `restart NAME`, `add ROW`, `remove NAME`, or `port [UPLINK/]PORT up|down`"
    )]
    Unknown,
    /// The name is empty or has control characters.
    #[error("cannot read the name {0:?}: use a name that `list` shows")]
    Name(&'a str),
    /// The port is not `PORT` or `UPLINK/PORT`.
    #[error("cannot read the port {0:?}: give PORT or UPLINK/PORT as `list` shows it")]
    Port(&'a str),
    /// The row is not an even number of hexadecimal digits.
    #[error("cannot read the row: give a row of the partition table in pairs of hexadecimal digits")]
    Row,
}

impl<'a> Request<'a> {
    /// Parses a line without its line feed.
    ///
    /// # Errors
    /// [`RequestError`] is the rule that the line breaks.
    pub fn parse(line: &'a str) -> Result<Self, RequestError<'a>> {
        let line = line.trim();
        let (verb, object) = line.split_once(' ').unwrap_or((line, ""));
        let object = object.trim_start();
        match (verb, object) {
            ("version", "") => Ok(Self::Version),
            ("list", "") => Ok(Self::List),
            ("status", "") => Ok(Self::Status),
            ("status", name) => checked(name).map(Self::LhcaStatus),
            ("digest", name) => checked(name).map(Self::Digest),
            ("port", words) => {
                let (place, direction) = words.split_once(' ').ok_or(RequestError::Unknown)?;
                let direction = direction.parse().map_err(|_| RequestError::Unknown)?;
                let place = place.parse().map_err(|_| RequestError::Port(place))?;
                Ok(Self::Port(place, direction))
            }
            ("start", name) => checked(name).map(Self::Start),
            ("stop", name) => checked(name).map(Self::Stop),
            ("restart", name) => checked(name).map(Self::Restart),
            ("add", digits) => Row::parse(digits).map(Self::Add),
            ("remove", name) => checked(name).map(Self::Remove),
            _ => Err(RequestError::Unknown),
        }
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("version"),
            Self::List => f.write_str("list"),
            Self::Status => f.write_str("status"),
            Self::LhcaStatus(name) => write!(f, "status {name}"),
            Self::Digest(name) => write!(f, "digest {name}"),
            Self::Port(place, direction) => write!(f, "port {place} {direction}"),
            Self::Start(name) => write!(f, "start {name}"),
            Self::Stop(name) => write!(f, "stop {name}"),
            Self::Restart(name) => write!(f, "restart {name}"),
            Self::Add(row) => write!(f, "add {row}"),
            Self::Remove(name) => write!(f, "remove {name}"),
        }
    }
}

fn checked(name: &str) -> Result<&str, RequestError<'_>> {
    if name.is_empty() || name.contains(char::is_control) { Err(RequestError::Name(name)) } else { Ok(name) }
}

/// Packed row of the partition table, on the line in two hexadecimal digits a byte.
#[derive(Clone, Copy)]
pub struct Row<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Packed(&'a [u8]),
    /// An even number of hexadecimal digits.
    Digits(&'a [u8]),
}

impl<'a> Row<'a> {
    /// Wraps the packed form of a row.
    #[must_use]
    pub fn packed(bytes: &'a [u8]) -> Self {
        Self(Form::Packed(bytes))
    }

    fn parse(digits: &'a str) -> Result<Self, RequestError<'a>> {
        let digits = digits.as_bytes();
        let is_row = !digits.is_empty() && digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
        if is_row { Ok(Self(Form::Digits(digits))) } else { Err(RequestError::Row) }
    }

    /// Returns the number of bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // a row is never empty on a line
    pub fn len(&self) -> usize {
        match self.0 {
            Form::Packed(bytes) => bytes.len(),
            Form::Digits(digits) => digits.len() / 2,
        }
    }

    /// Returns the bytes of the packed form.
    pub fn bytes(self) -> impl Iterator<Item = u8> + 'a {
        (0..self.len()).map(move |index| match self.0 {
            Form::Packed(bytes) => bytes[index],
            Form::Digits(digits) => nibble(digits[2 * index]) << 4 | nibble(digits[2 * index + 1]),
        })
    }
}

/// Returns the value of a hexadecimal digit.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

impl PartialEq for Row<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().eq(other.bytes())
    }
}

impl Eq for Row<'_> {}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({self})")
    }
}
