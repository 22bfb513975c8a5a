//! A client of the umad server, for packets that no tool of others sends.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};

use iba::Lid;
use umad_protocol::{ConnectData, Control, ControlKind, Datagram, MAD_LEN, name};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::lines::PATIENCE;
use crate::site::Site;

/// A client that is attached to a port. It names itself by a number of its own, so a test may have several.
#[derive(Debug)]
pub(crate) struct UmadClient {
    control: UnixDatagram,
    data: UnixDatagram,
    slot: u32,
}

/// Role of a client at its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Subnet manager: the port announces it.
    Sm,
    /// Program that sends requests and receives their responses.
    Requester,
}

/// Number of clients that this process has made.
static CLIENTS: AtomicU32 = AtomicU32::new(0);

impl UmadClient {
    /// Attaches to the site's host. A client with [`Role::Sm`] sets IsSM at the port.
    ///
    /// # Panics
    /// The server does not take the client.
    pub(crate) fn attach(site: &Site, role: Role) -> Self {
        let at = |name: Vec<u8>| SocketAddr::from_abstract_name(name).unwrap();
        let id = std::process::id() | CLIENTS.fetch_add(1, Ordering::Relaxed) << 23;
        let base = &site.socket;
        let control = UnixDatagram::bind_addr(&at(name::client_control(base, id))).unwrap();
        let data = UnixDatagram::bind_addr(&at(name::client_data(base, id))).unwrap();
        control.connect_addr(&at(name::server_control(base))).unwrap();
        for socket in [&control, &data] {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let mut client = Self { control, data, slot: 0 };
        let mut request = ConnectData::new_zeroed();
        (request.id, request.is_sm) = (id.into(), u32::from(role == Role::Sm).into());
        request.set_node_id(&site.host);
        client.slot = client.ask(ControlKind::CONNECT, &request).id.get();
        client.data.connect_addr(&at(name::server_data(base, client.slot))).unwrap();
        client
    }

    /// Sends `mad` to `dlid`, between queue pairs `qp` of both sides.
    ///
    /// # Panics
    /// The server is gone.
    pub(crate) fn send(&self, dlid: Lid, qp: u32, mad: [u8; MAD_LEN]) {
        self.data.send(Datagram::new(0, dlid.get(), qp, qp, mad).as_bytes()).unwrap();
    }

    /// Receives the next datagram.
    ///
    /// # Panics
    /// None comes within [`PATIENCE`].
    pub(crate) fn receive(&self) -> Datagram {
        let mut datagram = Datagram::new_zeroed();
        match self.data.recv(datagram.as_mut_bytes()) {
            Ok(_) => datagram,
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no packet arrives within {PATIENCE:?}"),
            Err(error) => panic!("cannot receive: {error}"),
        }
    }

    /// Exchanges a control message, and returns the data of its response.
    ///
    /// # Panics
    /// The server refuses it.
    pub(crate) fn ask<T: FromBytes + IntoBytes + Immutable>(&self, kind: ControlKind, data: &T) -> T {
        let mut message = Control::new(self.slot, kind, data);
        self.control.send(message.as_bytes()).unwrap();
        self.control.recv(message.as_mut_bytes()).unwrap();
        assert_ne!(message.kind, ControlKind::ERROR);
        T::read_from_prefix(&message.data).unwrap().0
    }
}

impl Drop for UmadClient {
    fn drop(&mut self) {
        let _ = self.control.send(Control::new(self.slot, ControlKind::DISCONNECT, &[0_u8; 0]).as_bytes());
    }
}
