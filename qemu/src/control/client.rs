//! A client of the control lines.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use control_protocol::{Ending, Request, SOCKET_INFIX};
use thiserror::Error;

use super::PATIENCE;

/// Where a control line is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The name of the run's socket: `--socket`, and `IBSIM_SOCKNAME`.
    pub socket: String,
    /// The hypervisor's name in the topology.
    pub hypervisor: String,
}

impl Place {
    /// The name of its abstract socket.
    pub(super) fn name(&self) -> String {
        format!("{}{SOCKET_INFIX}{}", self.socket, self.hypervisor)
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// The kernel refuses, and says why.
    #[error("{0}")]
    Refused(String),
    /// The line cannot be reached, or it broke.
    #[error("the control line {place} fails: {error}; is the run still there?")]
    Io { place: String, error: io::Error },
}

/// Sends `request` to the hypervisor at `place`, and returns the records of its answer as lines.
///
/// # Errors
/// `AskError` if the hypervisor refuses or cannot be reached.
pub fn ask(place: &Place, request: &Request<'_>) -> Result<Vec<String>, AskError> {
    let failed = |error| AskError::Io { place: place.name(), error };
    let mut stream = connect(place).map_err(failed)?;
    writeln!(stream, "{request}").map_err(failed)?;
    let mut answer = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(failed)?;
        match Ending::parse(&line) {
            None => answer.push(line),
            Some(Ending::Done) => return Ok(answer),
            Some(Ending::Refused(reason)) => return Err(AskError::Refused(reason.to_owned())),
        }
    }
    Err(failed(ErrorKind::UnexpectedEof.into()))
}

fn connect(place: &Place) -> io::Result<UnixStream> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(place.name())?)?;
    // Others may be waiting for the kernel before us.
    stream.set_read_timeout(Some(4 * PATIENCE))?;
    Ok(stream)
}

/// The control lines that there are on this host, in order.
///
/// # Errors
/// The system does not list its sockets.
pub fn running() -> io::Result<Vec<Place>> {
    Ok(listed(&fs::read_to_string("/proc/net/unix")?))
}

/// The control lines among the sockets that `/proc/net/unix` lists.
fn listed(table: &str) -> Vec<Place> {
    // Num RefCount Protocol Flags Type St Inode Path; an abstract name begins with `@`.
    let names = table.lines().filter_map(|line| line.split_once('@')).map(|(_, name)| name);
    let places = names.filter_map(|name| name.rsplit_once(SOCKET_INFIX));
    let mut places: Vec<_> = places
        .map(|(socket, hypervisor)| Place { socket: socket.to_owned(), hypervisor: hypervisor.to_owned() })
        .collect();
    places.sort();
    // Each connection is listed by its name, too.
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_lines_are_found_among_all_sockets() {
        let table = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 10 @b:control:east
0000000000000000: 00000003 00000000 00000000 0001 03 11 @b:control:east
0000000000000000: 00000002 00000000 00010000 0001 01 12 @a:ctl
0000000000000000: 00000002 00000000 00010000 0001 01 13 /run/x:control:y
0000000000000000: 00000002 00000000 00010000 0001 01 14 @a:control:portico-0
0000000000000000: 00000003 00000000 00000000 0001 03 15
";
        let found: Vec<_> = listed(table).iter().map(Place::name).collect();
        assert_eq!(found, ["a:control:portico-0", "b:control:east"]);
    }
}
