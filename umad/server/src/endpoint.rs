//! Addresses of the server and of its clients.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, bind, connect, socket_with};
use umad_protocol::name;

use super::slot::Slot;

/// Address of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Local sockets, for clients with this `IBSIM_SOCKNAME`.
    Local(String),
    /// UDP on the loopback address, for clients with this `IBSIM_SERVER_PORT`. Each slot has the next port.
    Udp(u16),
}

/// Error when opening a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// Another run uses this endpoint.
    #[error("cannot open {0}: another run uses it; end that one, or choose another name with --socket")]
    InUse(Endpoint),
    /// The system refuses.
    #[error("cannot open {endpoint} for umad programs: {error}")]
    Io {
        /// Endpoint to open.
        endpoint: Endpoint,
        /// Error of the system.
        error: Errno,
    },
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(base) => write!(f, "socket name {base:?}"),
            Self::Udp(port) => write!(f, "UDP port {port}"),
        }
    }
}

impl Endpoint {
    /// Opens the socket for control messages.
    ///
    /// # Errors
    ///
    /// Another run uses the address, or the system refuses.
    pub(super) fn control(&self) -> Result<OwnedFd, BindError> {
        self.open(match self {
            Self::Local(base) => local(&name::server_control(base)),
            Self::Udp(port) => Ok(loopback(*port)),
        })
        .map_err(|error| match error {
            Errno::ADDRINUSE => BindError::InUse(self.clone()),
            error => BindError::Io { endpoint: self.clone(), error },
        })
    }

    /// Opens the socket for the MADs of the client in `slot`, whose own socket for MADs has `id`.
    pub(super) fn data(&self, slot: Slot, id: u32) -> Result<OwnedFd, Errno> {
        let socket = self.open(match self {
            Self::Local(base) => local(&name::server_data(base, slot.number())),
            Self::Udp(port) => slot_port(*port, slot).map(loopback),
        })?;
        connect(&socket, &self.client(id)?)?;
        Ok(socket)
    }

    /// Returns `true` if no process has the address of the client whose socket for MADs has `id`. Sends nothing.
    pub(super) fn is_gone(&self, id: u32) -> bool {
        match self {
            Self::Local(_) => {
                let attempt = || connect(&self.socket()?, &self.client(id)?);
                attempt() == Err(Errno::CONNREFUSED)
            }
            Self::Udp(_) => self.open(self.client(id)).is_ok(),
        }
    }

    /// Returns the address of the client's socket for MADs.
    fn client(&self, id: u32) -> Result<SocketAddrAny, Errno> {
        match self {
            Self::Local(base) => local(&name::client_data(base, id)),
            Self::Udp(_) => id.try_into().map(loopback).map_err(|_| Errno::INVAL),
        }
    }

    fn socket(&self) -> Result<OwnedFd, Errno> {
        let family = match self {
            Self::Local(_) => AddressFamily::UNIX,
            Self::Udp(_) => AddressFamily::INET,
        };
        socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
    }

    fn open(&self, address: Result<SocketAddrAny, Errno>) -> Result<OwnedFd, Errno> {
        let socket = self.socket()?;
        bind(&socket, &address?)?;
        Ok(socket)
    }
}

fn local(name: &[u8]) -> Result<SocketAddrAny, Errno> {
    SocketAddrUnix::new_abstract_name(name).map(Into::into)
}

fn loopback(port: u16) -> SocketAddrAny {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()
}

fn slot_port(port: u16, slot: Slot) -> Result<u16, Errno> {
    u32::from(port).checked_add(1 + slot.number()).and_then(|port| port.try_into().ok()).ok_or(Errno::INVAL)
}
