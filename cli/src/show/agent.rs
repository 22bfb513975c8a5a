//! A management agent on a host of the fabric, which sends SubnGet as any umad program could.

use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use iba::mad::{Attribute, Class, MadHeader, Method, Status};
use iba::smp::Smp;
use iba::{Lid, PortNum, TransactionId};
use thiserror::Error;
use umad_protocol::{ConnectData, Control, ControlKind, Datagram, name};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// A management agent, attached to a host of the fabric.
pub(crate) struct Agent {
    control: UnixDatagram,
    data: UnixDatagram,
    server_control: SocketAddr,
    server_data: SocketAddr,
    slot: u32,
    transaction: u32,
}

/// Reason why a request has no response.
#[derive(Debug, Error)]
pub(crate) enum GetError {
    /// The request or its response was lost.
    #[error("cannot reach the node: no response")]
    NoResponse,
    /// The node responded with an error status.
    #[error("cannot read the attribute: status {0}")]
    Refused(Status),
    /// The socket of the umad server failed.
    #[error("cannot reach the server of the fabric")]
    Server(#[from] io::Error),
}

impl Agent {
    /// Attaches to `host` of the fabric whose sockets have the name `base`.
    ///
    /// # Errors
    /// The fabric does not run, or has no such host.
    pub(crate) fn attach(base: &str, host: &str) -> io::Result<Self> {
        let id = std::process::id();
        let server_control = SocketAddr::from_abstract_name(name::server_control(base))?;
        let control = bind(&name::client_control(base, id))?;
        let data = bind(&name::client_data(base, id))?;
        let mut connect = ConnectData::new_zeroed();
        connect.id = id.into();
        connect.set_node_id(host);
        control.send_to_addr(Control::new(0, ControlKind::CONNECT, &connect).as_bytes(), &server_control)?;
        let mut answer = Control::new_zeroed();
        control.recv(answer.as_mut_bytes())?;
        if answer.kind != ControlKind::CONNECT {
            return Err(io::Error::new(
                ErrorKind::NotFound,
                format!("cannot attach to {host}: the fabric has no such host"),
            ));
        }
        let (granted, _) = ConnectData::read_from_prefix(&answer.data).map_err(|_| ErrorKind::InvalidData)?;
        let slot = granted.id.get();
        let server_data = SocketAddr::from_abstract_name(name::server_data(base, slot))?;
        Ok(Self { control, data, server_control, server_data, slot, transaction: 0 })
    }

    /// Returns an attribute of the node at the end of `route`: the egress ports, from this host on.
    ///
    /// # Errors
    /// The request times out, or the node responds with an error status.
    pub(crate) fn get<A: Attribute + Copy>(&mut self, route: &[PortNum], modifier: u32) -> Result<A, GetError> {
        self.transaction = self.transaction.wrapping_add(1);
        let request = request::<A>(route, modifier, self.transaction);
        let datagram = Datagram::new(Lid::PERMISSIVE.get(), Lid::PERMISSIVE.get(), 0, 0, zerocopy::transmute!(request));
        self.data.send_to_addr(datagram.as_bytes(), &self.server_data)?;
        loop {
            let mut answer = Datagram::new_zeroed();
            self.data.recv(answer.as_mut_bytes())?;
            let (Ok(smp), timed_out) = (Smp::read_from_bytes(&answer.mad), answer.is_timed_out()) else { continue };
            // The server uses the upper half.
            if smp.header.transaction_id.get() & u64::from(u32::MAX) != u64::from(self.transaction) {
                continue; // a late response to an earlier request
            }
            return match smp.status() {
                _ if timed_out => Err(GetError::NoResponse),
                Status::OK => Ok(*smp.attribute()),
                refused => Err(GetError::Refused(refused)),
            };
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Without a server there is nothing to detach from.
        let message = Control::new(self.slot, ControlKind::DISCONNECT, &0_u32);
        if self.control.send_to_addr(message.as_bytes(), &self.server_control).is_ok() {
            // The response must not reach the next agent, whose socket has the same name.
            let _ = self.control.recv(Control::new_zeroed().as_mut_bytes());
        }
    }
}

fn bind(name: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    Ok(socket)
}

fn request<A: Attribute>(route: &[PortNum], modifier: u32, transaction: u32) -> Smp {
    let mut smp = Smp::default();
    smp.header.base_version = MadHeader::BASE_VERSION;
    smp.header.class = Class::SUBN_DIRECTED_ROUTE;
    smp.header.class_version = Smp::CLASS_VERSION;
    smp.header.method = Method::GET;
    smp.header.transaction_id = TransactionId::new(transaction.into());
    smp.header.attribute_id = A::ID;
    smp.header.attribute_modifier = modifier.into();
    smp.dr_slid = Lid::PERMISSIVE;
    smp.dr_dlid = Lid::PERMISSIVE;
    smp.initial_path[1..=route.len()].copy_from_slice(route);
    smp.set_hop_count(u8::try_from(route.len()).unwrap_or(u8::MAX));
    smp
}

/// Timeout of a socket. The server itself responds when the fabric does not, so only a dead server exceeds it.
const TIMEOUT: Duration = Duration::from_secs(10);
