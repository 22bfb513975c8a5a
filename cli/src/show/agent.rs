//! A management agent of our own: asks the nodes of the subnet what they are, as any program at that host could.

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

/// How long the server may take. It answers in the fabric's place where the fabric does not, so this is for a server
/// that is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// An agent, attached to a host of the fabric.
pub(crate) struct Agent {
    control: UnixDatagram,
    data: UnixDatagram,
    server_control: SocketAddr,
    server_data: SocketAddr,
    slot: u32,
    transaction: u32,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// Nobody took the request, or its answer was lost.
    #[error("no answer")]
    NoAnswer,
    /// The node refused it.
    #[error("refused with status {0}")]
    Refused(Status),
    /// The server cannot be talked to.
    #[error("the server of the fabric does not answer")]
    Server(#[from] io::Error),
}

impl Agent {
    /// Attaches to `host` of the fabric that is served at `base`.
    ///
    /// # Errors
    /// Nobody serves there, or there is no such host.
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
            return Err(io::Error::new(ErrorKind::NotFound, format!("the fabric has no host {host} to attach to")));
        }
        let (granted, _) = ConnectData::read_from_prefix(&answer.data).map_err(|_| ErrorKind::InvalidData)?;
        let slot = granted.id.get();
        let server_data = SocketAddr::from_abstract_name(name::server_data(base, slot))?;
        Ok(Self { control, data, server_control, server_data, slot, transaction: 0 })
    }

    /// Gets an attribute of the node at the end of `route`: the ports to leave by, from this host on.
    ///
    /// # Errors
    /// There is no answer, or not the one that was asked for.
    pub(crate) fn get<A: Attribute + Copy>(&mut self, route: &[PortNum], modifier: u32) -> Result<A, AskError> {
        self.transaction = self.transaction.wrapping_add(1);
        let request = request::<A>(route, modifier, self.transaction);
        let datagram = Datagram::new(Lid::PERMISSIVE.get(), Lid::PERMISSIVE.get(), 0, 0, zerocopy::transmute!(request));
        self.data.send_to_addr(datagram.as_bytes(), &self.server_data)?;
        loop {
            let mut answer = Datagram::new_zeroed();
            self.data.recv(answer.as_mut_bytes())?;
            let (Ok(smp), timed_out) = (Smp::read_from_bytes(&answer.mad), answer.is_timed_out()) else { continue };
            // The upper half is the server's to use.
            if smp.header.transaction_id.get() & u64::from(u32::MAX) != u64::from(self.transaction) {
                continue; // a late answer to a request that was given up
            }
            return match smp.status() {
                _ if timed_out => Err(AskError::NoAnswer),
                Status::OK => Ok(*smp.attribute()),
                refused => Err(AskError::Refused(refused)),
            };
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // If the server is gone there is nothing to detach from.
        let message = Control::new(self.slot, ControlKind::DISCONNECT, &0_u32);
        if self.control.send_to_addr(message.as_bytes(), &self.server_control).is_ok() {
            // The answer must not go to the next agent, whose socket has the same name.
            let _ = self.control.recv(Control::new_zeroed().as_mut_bytes());
        }
    }
}

fn bind(name: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    socket.set_read_timeout(Some(PATIENCE))?;
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
