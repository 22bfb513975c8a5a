//! The manager as a program on the host, at any fabric that speaks ibsim's client protocol:
//!
//! ```text
//! IBSIM_SOCKNAME=portico SIM_HOST=H1 cargo run -p portico-sm --example umad -- [PRIORITY]
//! ```

use std::env;
use std::error::Error;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::{Duration, Instant};

use iba::attr::NodeInfo;
use iba::{Lid, Qpn, Sl};
use subnet_manager::{Address, Config, Event, Manager, Outlet};
use umad_protocol::{ConnectData, Control, ControlKind, DEFAULT_BASE, Datagram, name};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// The client's sockets.
struct Client {
    control: UnixDatagram,
    data: UnixDatagram,
    slot: u32,
}

impl Client {
    /// Attaches to `host`, or to any.
    fn connect(base: &str, host: &str) -> Result<Self, Box<dyn Error>> {
        let at = |name: Vec<u8>| SocketAddr::from_abstract_name(name);
        let id = process::id();
        let control = UnixDatagram::bind_addr(&at(name::client_control(base, id))?)?;
        let data = UnixDatagram::bind_addr(&at(name::client_data(base, id))?)?;
        control.connect_addr(&at(name::server_control(base))?)?;
        let mut client = Self { control, data, slot: 0 };
        let mut request = ConnectData::new_zeroed();
        (request.id, request.is_sm) = (id.into(), 1.into());
        request.set_node_id(host);
        let answer: ConnectData = client.ask(ControlKind::CONNECT, &request)?;
        client.slot = answer.id.get();
        client.data.connect_addr(&at(name::server_data(base, client.slot))?)?;
        Ok(client)
    }

    /// Asks a control message.
    fn ask<T: FromBytes + IntoBytes + zerocopy::Immutable>(
        &self,
        kind: ControlKind,
        data: &T,
    ) -> Result<T, Box<dyn Error>> {
        let mut message = Control::new(self.slot, kind, data);
        self.control.send(message.as_bytes())?;
        self.control.recv(message.as_mut_bytes())?;
        if message.kind == ControlKind::ERROR {
            return Err("the server refused: is there such a node, and no other subnet manager at it?".into());
        }
        T::read_from_prefix(&message.data).map(|(data, _)| data).map_err(|_| "the server's answer is too short".into())
    }
}

impl Outlet for &Client {
    fn send(&mut self, to: &Address, mad: &[u8; 256]) {
        let own = if to.qp == Qpn::SMI { 0 } else { 1 };
        let slid = if to.lid == Lid::PERMISSIVE { to.lid.get() } else { 0 };
        let datagram = Datagram::new(slid, to.lid.get(), own, to.qp.get(), *mad);
        // What the server does not take is lost, like a packet on a wire.
        let _ = self.data.send(datagram.as_bytes());
    }

    fn tell(&mut self, event: Event) {
        println!("{event}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let base = env::var("IBSIM_SOCKNAME").unwrap_or_else(|_| DEFAULT_BASE.to_owned());
    let priority = env::args().nth(1).map_or(Ok(0), |text| text.parse())?;
    let mut client = &Client::connect(&base, &env::var("SIM_HOST").unwrap_or_default())?;
    let node: NodeInfo = client.ask(ControlKind::GET_NODEINFO, &NodeInfo::default())?;
    let start = Instant::now();
    let mut manager = Manager::new(node.port_guid, Config { priority, ..Config::default() }, start.elapsed());
    let mut next = manager.poll(start.elapsed(), &mut client);
    loop {
        let patience = next.saturating_sub(start.elapsed()).clamp(Duration::from_millis(1), Duration::from_secs(3600));
        client.data.set_read_timeout(Some(patience))?;
        let mut datagram = Datagram::new_zeroed();
        next = match client.data.recv(datagram.as_mut_bytes()) {
            Ok(_) if datagram.is_timed_out() => continue, // the manager has timeouts of its own
            Ok(_) => {
                let (lid, qp) = (Lid::new(datagram.slid.get()), Qpn::new(datagram.sqp.get()));
                manager.receive(start.elapsed(), &Address { lid, qp, sl: Sl::default() }, &datagram.mad, &mut client)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                manager.poll(start.elapsed(), &mut client)
            }
            Err(error) => return Err(error.into()),
        };
    }
}
