use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use iba::Sl;
use iba::packet::MadPacket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, bind, connect, recv, send, socket};
use umad_protocol::{ConnectData, Control, ControlKind, Datagram, NODE_ID_LEN, name};
use zerocopy::byteorder::U32;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::super::{BindError, Endpoint, Server};
use super::*;

const LIMIT: Duration = Duration::from_secs(10);

/// A server, its fabric and its clock.
struct Bench {
    server: Server,
    fabric: Hosts,
    now: Duration,
    base: String,
}

impl Bench {
    fn new() -> Self {
        let base = unique();
        let server = Server::bind(Endpoint::Local(base.clone())).unwrap();
        Self { server, fabric: Hosts::default(), now: Duration::from_nanos(1), base }
    }

    /// Waits until the server has work, and serves once.
    fn serve(&mut self) {
        let limit = Timespec::try_from(LIMIT).unwrap();
        let ready = poll(&mut [PollFd::new(&self.server, PollFlags::IN)], Some(&limit)).unwrap();
        assert_eq!(ready, 1, "the server has nothing to do");
        self.server.serve(self.now, &mut self.fabric);
    }

    /// Attaches a client over local sockets.
    fn attach(&mut self, id: u32) -> Client {
        let make = |own: Vec<u8>| {
            let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap();
            bind(&socket, &SocketAddrUnix::new_abstract_name(&own).unwrap()).unwrap();
            socket
        };
        let control = make(name::client_control(&self.base, id));
        let data = make(name::client_data(&self.base, id));
        connect(&control, &SocketAddrUnix::new_abstract_name(&name::server_control(&self.base)).unwrap()).unwrap();
        let mut client = Client::new(control, data);
        client.connect(self, id);
        let slot = name::server_data(&self.base, client.slot);
        connect(&client.data, &SocketAddrUnix::new_abstract_name(&slot).unwrap()).unwrap();
        client
    }

    /// Answers all requests of clients.
    fn answer(&mut self) {
        for (at, packet) in std::mem::take(&mut self.fabric.submitted) {
            let mut mad = MadPacket::read_from_bytes(&packet).unwrap().mad;
            mad.header.method = Method::GET_RESP;
            let packet = MadPacket::new(Lid::new(2), Lid::new(1), Sl::default(), mad);
            self.server.deliver(at, packet.as_bytes());
        }
    }
}

/// Returns a name that no other test uses.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("portico-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A client that acts as ibsim's library.
struct Client {
    control: OwnedFd,
    data: OwnedFd,
    slot: u32,
}

impl Client {
    fn new(control: OwnedFd, data: OwnedFd) -> Self {
        for socket in [&control, &data] {
            set_socket_timeout(socket, Timeout::Recv, Some(LIMIT)).unwrap();
        }
        Self { control, data, slot: 0 }
    }

    fn exchange(&self, bench: &mut Bench, message: &Control) -> Control {
        send(&self.control, message.as_bytes(), SendFlags::empty()).unwrap();
        bench.serve();
        let mut answer = Control::new_zeroed();
        recv(&self.control, answer.as_mut_bytes(), RecvFlags::empty()).unwrap();
        answer
    }

    fn connect(&mut self, bench: &mut Bench, id: u32) {
        let data = ConnectData { id: U32::new(id), qp: U32::ZERO, is_sm: U32::ZERO, node_id: [0; NODE_ID_LEN] };
        let answer = self.exchange(bench, &Control::new(0, ControlKind::CONNECT, &data));
        assert_eq!(answer.kind, ControlKind::CONNECT);
        self.slot = ConnectData::read_from_prefix(&answer.data).unwrap().0.id.get();
    }

    fn request(&self, transaction: u64) {
        let mad = mad(Class::SUBN_ADM, Method::GET, transaction);
        send(&self.data, Datagram::new(0, 2, 1, 1, mad).as_bytes(), SendFlags::empty()).unwrap();
    }

    /// Reads the next MAD; returns its status and the lower half of its transaction id.
    fn read(&self) -> (u32, u64) {
        let mut datagram = Datagram::new_zeroed();
        let (_, size) = recv(&self.data, datagram.as_mut_bytes(), RecvFlags::empty()).unwrap();
        assert_eq!(size, 288);
        let mad: Mad = transmute!(datagram.mad);
        (datagram.status.get(), mad.header.transaction_id.get() & 0xffff_ffff)
    }
}

#[test]
fn second_run_with_the_same_name_is_refused() {
    let bench = Bench::new();
    let endpoint = Endpoint::Local(bench.base.clone());
    let error = Server::bind(endpoint.clone()).unwrap_err();
    assert_eq!(error, BindError::InUse(endpoint));
    let text = format!(
        "cannot open socket name {:?}: another run uses it; end that one, or choose another name with --socket",
        bench.base
    );
    assert_eq!(error.to_string(), text);
}

#[test]
fn clients_in_all_slots_are_served_together() {
    let mut bench = Bench::new();
    let clients: Vec<Client> = (0..128).map(|id| bench.attach(id)).collect();
    for (client, transaction) in clients.iter().zip(1000..) {
        client.request(transaction);
    }
    while bench.fabric.submitted.len() < clients.len() {
        bench.serve();
    }
    bench.answer();
    for (client, transaction) in clients.iter().zip(1000..) {
        assert_eq!(client.read(), (0, transaction));
    }
}

#[test]
fn client_that_does_not_read_stops_no_other() {
    const COUNT: u64 = 5000; // many times the capacity of a socket
    let mut bench = Bench::new();
    let (slow, quick) = (bench.attach(1), bench.attach(2));
    for transaction in 0..COUNT {
        slow.request(transaction);
        bench.serve();
        bench.answer();
    }
    quick.request(7);
    while !bench.fabric.submitted.iter().any(|_| true) {
        bench.serve();
    }
    bench.answer();
    assert_eq!(quick.read(), (0, 7));
    for transaction in 0..COUNT {
        if transaction % 8 == 0 {
            bench.server.serve(bench.now, &mut bench.fabric); // the socket has room again
        }
        assert_eq!(slow.read(), (0, transaction), "all of it, in order");
    }
}

#[test]
fn request_without_a_response_comes_back_to_the_socket() {
    let mut bench = Bench::new();
    let client = bench.attach(1);
    client.request(7);
    bench.serve();
    let next = bench.server.expire(bench.now, &mut bench.fabric);
    assert_eq!(next, Some(bench.now + Duration::from_secs(1)));
    bench.server.expire(next.unwrap(), &mut bench.fabric);
    assert_eq!(client.read(), (110, 7));
}

#[test]
fn client_that_dies_frees_its_slot() {
    let mut bench = Bench::new();
    let client = bench.attach(1);
    client.exchange(&mut bench, &Control::new(client.slot, ControlKind::SET_ISSM, &1_u32.to_ne_bytes()));
    assert_eq!(bench.fabric.sms.len(), 1);
    let next = bench.server.expire(bench.now, &mut bench.fabric);
    assert_eq!(bench.fabric.sms.len(), 1, "the client runs");
    drop(client);
    assert_eq!(bench.server.expire(next.unwrap(), &mut bench.fabric), None);
    assert!(bench.fabric.sms.is_empty());
    assert_eq!(bench.attach(1).slot, 0);
}

#[test]
fn sm_replaces_a_dead_sm_at_once() {
    let mut bench = Bench::new();
    let is_sm = 1_u32.to_ne_bytes();
    let (first, second) = (bench.attach(1), bench.attach(2));
    let answer = first.exchange(&mut bench, &Control::new(first.slot, ControlKind::SET_ISSM, &is_sm));
    assert_eq!(answer.kind, ControlKind::SET_ISSM);
    let answer = second.exchange(&mut bench, &Control::new(second.slot, ControlKind::SET_ISSM, &is_sm));
    assert_eq!(answer.kind, ControlKind::ERROR);
    drop(first);
    let answer = second.exchange(&mut bench, &Control::new(second.slot, ControlKind::SET_ISSM, &is_sm));
    assert_eq!(answer.kind, ControlKind::SET_ISSM);
}

#[test]
fn client_that_detaches_frees_its_slot() {
    let mut bench = Bench::new();
    let client = bench.attach(1);
    let answer = client.exchange(&mut bench, &Control::new(client.slot, ControlKind::DISCONNECT, &()));
    assert_eq!(answer.kind, ControlKind::DISCONNECT);
    assert_eq!(bench.server.expire(bench.now, &mut bench.fabric), None);
    drop(client);
    assert_eq!(bench.attach(1).slot, 0);
}

#[test]
fn messages_of_a_wrong_length_are_dropped() {
    let mut bench = Bench::new();
    let client = bench.attach(1);
    for size in [0, 1, 287, 289] {
        send(&client.data, &[0; 289][..size], SendFlags::empty()).unwrap();
        bench.serve();
    }
    for size in [0, 79, 81] {
        send(&client.control, &[0; 81][..size], SendFlags::empty()).unwrap();
        bench.serve();
    }
    assert!(bench.fabric.submitted.is_empty());
    client.request(7);
    bench.serve();
    assert_eq!(bench.fabric.submitted.len(), 1);
}

#[test]
fn client_over_udp_is_served() {
    // The server needs two neighbouring ports that are free.
    let mut ports = (20_000..60_000).step_by(7);
    let (port, server) = loop {
        let port = ports.next().unwrap();
        if UdpSocket::bind(("127.0.0.1", port + 1)).is_ok()
            && let Ok(server) = Server::bind(Endpoint::Udp(port))
        {
            break (port, server);
        }
    };
    assert_eq!(Server::bind(Endpoint::Udp(port)).unwrap_err(), BindError::InUse(Endpoint::Udp(port)));
    let mut bench = Bench { server, fabric: Hosts::default(), now: Duration::from_nanos(1), base: String::new() };
    let (control, data) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    control.connect(("127.0.0.1", port)).unwrap();
    let id = data.local_addr().unwrap().port();
    let mut client = Client::new(control.into(), data.try_clone().unwrap().into());
    client.connect(&mut bench, id.into());
    assert_eq!(client.slot, 0);
    data.connect(("127.0.0.1", port + 1)).unwrap();
    client.request(7);
    bench.serve();
    bench.answer();
    assert_eq!(client.read(), (0, 7));
    assert!(matches!(recv(data.as_fd(), &mut [0; 8], RecvFlags::DONTWAIT), Err(Errno::AGAIN)));
    let next = bench.server.expire(bench.now, &mut bench.fabric);
    assert_ne!(next, None, "the client runs");
    drop((client, data));
    assert_eq!(bench.server.expire(next.unwrap(), &mut bench.fabric), None, "the client died");
}
