//! Connection of the process to its port: two sockets to a server of ibsim's protocol, for control messages and MADs.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use iba::PortNum;
use iba::attr::{NodeInfo, NodeType, PKeyTable, PortInfo};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::net::{bind, connect, getsockname, recv, send, socket_with};
use umad_protocol::{ConnectData, Control, ControlKind, DEFAULT_BASE, DEFAULT_PORT, VendorData, name};
use zerocopy::byteorder::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::sysfs::{NodeAttributes, PortAttributes};

/// Time to wait for a server that has not started, and for its answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Server and node to attach to, from the environment.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    server: Server,
    /// `SIM_HOST`: the node to attach to.
    host: Option<String>,
    /// `SIM_SET_ISSM`: the process is an SM from the start.
    is_sm: bool,
}

/// Address of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Server {
    /// Local sockets with this base of their names.
    Local(String),
    /// UDP.
    Udp { host: String, port: u16 },
}

impl Environment {
    /// Reads the variables that ibsim's own client reads.
    pub(crate) fn read() -> Self {
        let var = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let server = match var("IBSIM_SERVER_NAME") {
            Some(host) => {
                let port = var("IBSIM_SERVER_PORT").and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_PORT);
                Server::Udp { host, port }
            }
            None => Server::Local(var("IBSIM_SOCKNAME").unwrap_or_else(|| DEFAULT_BASE.into())),
        };
        Self { server, host: var("SIM_HOST"), is_sm: env::var_os("SIM_SET_ISSM").is_some() }
    }
}

/// Error when attaching to a port.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// The system refuses a socket.
    #[error("cannot open a socket for {what}: {error}")]
    Socket { what: &'static str, error: Errno },
    /// The server's host has no address.
    #[error("cannot resolve IBSIM_SERVER_NAME {host:?}: {error}")]
    Resolve { host: String, error: io::Error },
    /// No server answers.
    #[error("cannot reach a server at {server:?}: {error}; start one, or set IBSIM_SOCKNAME or IBSIM_SERVER_NAME")]
    NoServer { server: String, error: Errno },
    /// The server refuses.
    #[error(
        "cannot attach to SIM_HOST {host:?}: the server refuses; no node or running bridge has this name, or no client slot is \
         free"
    )]
    Refused { host: String },
    /// The server does not answer a control message.
    #[error("cannot query the server: {0}")]
    Query(#[from] QueryError),
}

/// Error of a control message.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// The message could not be sent, or no answer came.
    #[error("{0}")]
    Io(#[from] Errno),
    /// The answer is an error, or invalid.
    #[error("refused")]
    Refused,
}

/// Attachment of the process to a port.
#[derive(Debug)]
pub(crate) struct Attachment {
    control: Mutex<OwnedFd>,
    data: OwnedFd,
    slot: u32,
    is_sm: AtomicBool,
}

impl Attachment {
    /// Attaches to the node that `environment` names, as the `nth` client of this process. Waits up to [`PATIENCE`] for
    /// a server that has not started.
    ///
    /// # Errors
    ///
    /// See [`AttachError`].
    pub(crate) fn new(environment: &Environment, nth: u8) -> Result<Self, AttachError> {
        let (control, data, id) = match &environment.server {
            Server::Local(base) => local_sockets(base, nth)?,
            Server::Udp { host, port } => udp_sockets(host, *port)?,
        };
        let mut request = ConnectData::new_zeroed();
        request.id = U32::new(id);
        request.is_sm = U32::new(environment.is_sm.into());
        request.set_node_id(environment.host.as_deref().unwrap_or_default());
        let answer = match exchange_patiently(&control, Control::new(0, ControlKind::CONNECT, &request)) {
            Ok(answer) => answer,
            Err(QueryError::Io(error)) => {
                return Err(AttachError::NoServer { server: environment.server.to_string(), error });
            }
            Err(QueryError::Refused) => {
                return Err(AttachError::Refused { host: environment.host.clone().unwrap_or_default() });
            }
        };
        let slot = read::<ConnectData>(&answer).id.get();
        let attachment = Self { control: Mutex::new(control), data, slot, is_sm: AtomicBool::new(false) };
        attachment.connect_data(&environment.server)?;
        if environment.is_sm {
            attachment.set_is_sm(true)?;
        }
        Ok(attachment)
    }

    /// Connects the socket for MADs to this client's slot.
    fn connect_data(&self, server: &Server) -> Result<(), AttachError> {
        let result = match server {
            Server::Local(base) => local(&name::server_data(base, self.slot)).and_then(|at| connect(&self.data, &at)),
            Server::Udp { host, port } => {
                let port = u32::from(*port) + 1 + self.slot;
                let address = resolve(host, port.try_into().map_err(|_| QueryError::Refused)?)?;
                connect(&self.data, &address)
            }
        };
        result.map_err(|error| AttachError::Socket { what: "MADs", error })
    }

    /// Returns the socket for MADs.
    pub(crate) fn data(&self) -> &OwnedFd {
        &self.data
    }

    /// Queries the attributes of the node and its ports.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub(crate) fn attributes(&self) -> Result<NodeAttributes, QueryError> {
        const ATTACHED: PortNum = PortNum::new(0);
        let node: NodeInfo = self.query(ControlKind::GET_NODEINFO, ATTACHED)?;
        let mut ports = Vec::new();
        let numbers = if node.node_type == NodeType::SWITCH { 0..=0 } else { 1..=node.num_ports };
        for number in numbers.map(PortNum::new) {
            match self.query::<PortInfo>(ControlKind::GET_PORTINFO, number) {
                Ok(info) => {
                    let p_keys = self.query::<PKeyTable>(ControlKind::GET_PKEYS, number)?;
                    ports.push(PortAttributes { number, info, p_keys });
                }
                Err(QueryError::Refused) => {} // clients cannot attach to this port
                Err(error) => return Err(error),
            }
        }
        Ok(NodeAttributes {
            node,
            ports,
            firmware: self.query::<VendorData>(ControlKind::GET_VENDOR, ATTACHED)?.firmware.get(),
        })
    }

    /// Moves to another port of the node.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub(crate) fn set_port(&self, port: PortNum) -> Result<(), QueryError> {
        exchange(&self.control(), &Control::new(self.slot, ControlKind::SET_PORT, &[port.get()])).map(drop)
    }

    /// Sets or clears the port's IsSM bit.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub(crate) fn set_is_sm(&self, is_sm: bool) -> Result<(), QueryError> {
        self.is_sm.store(is_sm, Ordering::Relaxed);
        exchange(&self.control(), &self.is_sm_request(is_sm)).map(drop)
    }

    fn is_sm_request(&self, is_sm: bool) -> Control {
        Control::new(self.slot, ControlKind::SET_ISSM, &u32::from(is_sm).to_ne_bytes())
    }

    /// Detaches, unless another thread exchanges a control message. A server notices ended clients by itself.
    pub(crate) fn leave(&self) {
        if let Ok(control) = self.control.try_lock() {
            if self.is_sm.load(Ordering::Relaxed) {
                let _ = exchange(&control, &self.is_sm_request(false));
            }
            let _ = exchange(&control, &Control::new(self.slot, ControlKind::DISCONNECT, &()));
        }
    }

    fn query<T: FromBytes + IntoBytes + Immutable>(&self, kind: ControlKind, port: PortNum) -> Result<T, QueryError> {
        let mut request = Control::new(self.slot, kind, &T::new_zeroed());
        request.data[0] = port.get();
        exchange(&self.control(), &request).map(|answer| read(&answer))
    }

    fn control(&self) -> MutexGuard<'_, OwnedFd> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(base) => f.write_str(base),
            Self::Udp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Opens local sockets for control messages and for MADs, and connects the first. Returns also the id by which the
/// server finds the second.
fn local_sockets(base: &str, nth: u8) -> Result<(OwnedFd, OwnedFd, u32), AttachError> {
    // A process id has 22 bits.
    let id = process::id() | u32::from(nth) << 24;
    let make = |what, name: &[u8]| {
        let error = |error| AttachError::Socket { what, error };
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).map_err(error)?;
        bind(&socket, &local(name).map_err(error)?).map_err(error)?;
        Ok::<_, AttachError>(socket)
    };
    let control = make("control messages", &name::client_control(base, id))?;
    let data = make("MADs", &name::client_data(base, id))?;
    let give_up = Instant::now() + PATIENCE;
    let address =
        local(&name::server_control(base)).map_err(|error| AttachError::Socket { what: "control messages", error })?;
    while let Err(error) = connect(&control, &address) {
        if error != Errno::CONNREFUSED || Instant::now() > give_up {
            return Err(AttachError::NoServer { server: base.into(), error });
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok((control, data, id))
}

/// Opens UDP sockets as [`local_sockets`] does; the id is the port of the second.
fn udp_sockets(host: &str, port: u16) -> Result<(OwnedFd, OwnedFd, u32), AttachError> {
    let server = resolve(host, port)?;
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let make = |what| {
        let error = |error| AttachError::Socket { what, error };
        let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None).map_err(error)?;
        // Connecting chooses the address that the server sees; the data socket must share it.
        connect(&socket, &server).map_err(error)?;
        Ok::<_, AttachError>(socket)
    };
    let (control, data) = (make("control messages")?, make("MADs")?);
    let bound = getsockname(&data).map_err(|error| AttachError::Socket { what: "MADs", error })?;
    let bound = SocketAddr::try_from(bound).map_err(|error| AttachError::Socket { what: "MADs", error })?;
    Ok((control, data, bound.port().into()))
}

fn local(name: &[u8]) -> rustix::io::Result<SocketAddrUnix> {
    SocketAddrUnix::new_abstract_name(name)
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, AttachError> {
    let fail = |error| AttachError::Resolve { host: host.into(), error };
    let mut addresses = (host, port).to_socket_addrs().map_err(fail)?;
    addresses.next().ok_or_else(|| fail(io::ErrorKind::NotFound.into()))
}

/// Exchanges a control message, and repeats it until a server answers: UDP gives no other sign of a server.
fn exchange_patiently(control: &OwnedFd, request: Control) -> Result<Control, QueryError> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match exchange(control, &request) {
            Err(QueryError::Io(Errno::CONNREFUSED)) if Instant::now() < give_up => {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

/// Sends a control message and waits for its answer.
fn exchange(control: &OwnedFd, request: &Control) -> Result<Control, QueryError> {
    set_socket_timeout(control, Timeout::Recv, Some(PATIENCE))?;
    send(control, request.as_bytes(), SendFlags::NOSIGNAL)?;
    let mut answer = Control::new_zeroed();
    let length = loop {
        match recv(control, answer.as_mut_bytes(), RecvFlags::empty()) {
            Err(Errno::INTR) => {}
            result => break result?.0,
        }
    };
    if length == size_of::<Control>() && answer.kind == request.kind { Ok(answer) } else { Err(QueryError::Refused) }
}

/// Returns the data of a control message.
fn read<T: FromBytes>(message: &Control) -> T {
    const { assert!(size_of::<T>() <= umad_protocol::DATA_LEN) }
    match T::read_from_prefix(&message.data) {
        Ok((data, _)) => data,
        Err(_) => unreachable!(), // the assertion above
    }
}
