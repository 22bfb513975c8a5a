//! ibsim, asked over a socket like by any of its clients.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use iba::Lid;
use iba::mad::{Method, Status};
use iba::smp::Smp;
use umad_protocol::{ConnectData, Control, ControlKind, Datagram, NODE_ID_LEN, name};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::callgrind::{self, Run};
use crate::request::Request;

/// Two hosts and a switch between them.
const NET: &str = r#"
switchguid=0x10
Switch 2 "S1"
[1] "H1"[1]
[2] "H2"[1]

caguid=0x20
Hca 1 "H1"
[1] "S1"[1]

caguid=0x30
Hca 1 "H2"
[1] "S1"[2]
"#;

/// Longest time for ibsim to start, or to respond.
const PATIENCE: Duration = Duration::from_secs(60);

/// Instructions that ibsim spends on a request in its own user space. The request is for the node that asks; where only
/// a switch answers it, for the switch one hop away.
///
/// # Errors
/// Valgrind or ibsim is missing, or ibsim does not answer as it should.
pub fn ibsim(request: Request) -> Result<f64> {
    callgrind::per_round(|rounds| instructions(request, rounds))
}

/// Instructions of a whole run of ibsim with so many requests.
fn instructions(request: Request, rounds: u32) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("net"), NET)?;
    let base = format!("bench-{}-{rounds}", process::id());
    let mut run = Run::start(folder, |valgrind| valgrind.args(["ibsim", "-s", "net"]).env("IBSIM_SOCKNAME", &base))?;
    let mut console = run.stdin().context("ibsim has no console")?;
    let client = Client::connect(&base, "H1")?;
    for _ in 0..rounds {
        client.ask(request)?;
    }
    client.disconnect()?;
    console.write_all(b"quit\n").context("ibsim ended before it was asked to")?;
    run.instructions()
}

/// A client of ibsim.
struct Client {
    control: UnixDatagram,
    data: UnixDatagram,
    slot: u32,
}

impl Client {
    /// Attaches to `node`.
    fn connect(base: &str, node: &str) -> Result<Self> {
        let id = process::id();
        let control = socket(&name::client_control(base, id))?;
        let data = socket(&name::client_data(base, id))?;
        let server = SocketAddr::from_abstract_name(name::server_control(base))?;
        let start = Instant::now();
        while let Err(error) = control.connect_addr(&server) {
            ensure!(error.kind() == ErrorKind::ConnectionRefused, "cannot reach ibsim: {error}");
            ensure!(start.elapsed() < PATIENCE, "ibsim did not start within {} s", PATIENCE.as_secs());
            thread::sleep(Duration::from_millis(20)); // nothing tells when it is up
        }
        let mut connect = ConnectData { id: id.into(), qp: 0.into(), is_sm: 1.into(), node_id: [0; NODE_ID_LEN] };
        connect.set_node_id(node);
        let answer = exchange(&control, &Control::new(0, ControlKind::CONNECT, &connect))?;
        let (connected, _) = ConnectData::read_from_prefix(&answer.data).ok().context("a short answer")?;
        let slot = connected.id.get();
        data.connect_addr(&SocketAddr::from_abstract_name(name::server_data(base, slot))?)?;
        Ok(Self { control, data, slot })
    }

    /// Sends a request and checks its answer.
    fn ask(&self, request: Request) -> Result<()> {
        let smp: [u8; 256] = zerocopy::transmute!(request.smp(request.is_for_switch().into()));
        self.data.send(Datagram::new(Lid::PERMISSIVE.get(), Lid::PERMISSIVE.get(), 0, 0, smp).as_bytes())?;
        let mut answer = Datagram::new_zeroed();
        self.data.recv(answer.as_mut_bytes()).context("ibsim does not answer")?;
        let smp: Smp = zerocopy::transmute!(answer.mad);
        if smp.header.method != Method::GET_RESP || smp.status() != Status::OK {
            bail!("ibsim refused {}: {:?}, {:?}", request.name(), smp.header.method, smp.status());
        }
        Ok(())
    }

    /// Detaches.
    fn disconnect(&self) -> Result<()> {
        exchange(&self.control, &Control::new(self.slot, ControlKind::DISCONNECT, &[0_u8; 0])).map(|_| ())
    }
}

/// A socket of this name that does not wait for ever.
fn socket(name: &[u8]) -> Result<UnixDatagram> {
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Sends a control message and takes its answer.
fn exchange(socket: &UnixDatagram, message: &Control) -> Result<Control> {
    socket.send(message.as_bytes())?;
    let mut answer = Control::new_zeroed();
    socket.recv(answer.as_mut_bytes()).context("ibsim does not answer")?;
    ensure!(answer.kind == message.kind, "ibsim refused control message {:?}", message.kind);
    Ok(answer)
}
