//! The server with peers, and with QEMU's device.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn start() -> (TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("hca")).unwrap();
    (dir, server)
}

/// Waits until `fd` can be read.
#[track_caller]
fn wait(fd: impl AsFd) {
    let timeout = Timespec::try_from(PATIENCE).unwrap();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&timeout)).unwrap(), 1, "the descriptor is not readable");
}

/// Waits until the peer's membership becomes `wanted`.
fn until(peer: &mut Peer, wanted: Membership) {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "no {wanted:?}");
        wait(&*peer);
        if peer.update().unwrap() == wanted {
            return;
        }
    }
}

/// Returns the notifications of a vector since the last call. QEMU makes descriptors blocking, so this polls first.
fn notifications(fd: impl AsFd) -> u64 {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now)).unwrap() == 0 {
        return 0;
    }
    let mut count = [0; 8];
    rustix::io::read(fd, &mut count).unwrap();
    u64::from_ne_bytes(count)
}

#[test]
fn peers_share_memory_and_notifications() {
    let (_dir, server) = start();
    let mut first = Peer::join(server.path()).unwrap();
    assert!(first.is_alone());
    let second = Peer::join(server.path()).unwrap();
    assert_ne!(first.id(), second.id());
    assert!(!second.is_alone());
    until(&mut first, Membership::Joined);

    rustix::io::pwrite(first.memory(), b"slot", 0x100).unwrap();
    let mut bytes = [0; 4];
    rustix::io::pread(second.memory(), &mut bytes, 0x100).unwrap();
    assert_eq!(&bytes, b"slot");
    assert!(rustix::fs::ftruncate(first.memory(), 0).is_err(), "a peer can shrink the memory");

    first.ring(VECTORS - 1);
    second.ring(1);
    first.ring(VECTORS);
    assert_eq!(second.doorbells().iter().map(notifications).collect::<Vec<_>>(), [0, 0, 0, 0, 1]);
    assert_eq!(first.doorbells().iter().map(notifications).collect::<Vec<_>>(), [0, 1, 0, 0, 0]);
}

#[test]
fn memory_after_a_peer_left_is_unchanged() {
    let (_dir, server) = start();
    let mut stays = Peer::join(server.path()).unwrap();
    let leaves = Peer::join(server.path()).unwrap();
    until(&mut stays, Membership::Joined);
    rustix::io::pwrite(leaves.memory(), b"here", 0).unwrap();
    let gone = leaves.id();
    drop(leaves);
    until(&mut stays, Membership::Alone);

    let again = Peer::join(server.path()).unwrap();
    assert_ne!(again.id(), gone, "the id is not new");
    until(&mut stays, Membership::Joined);
    let mut bytes = [0; 4];
    rustix::io::pread(again.memory(), &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"here");
    stays.ring(2);
    wait(&again.doorbells()[2]);
}

#[test]
fn peer_beyond_the_limit_is_refused() {
    let (_dir, server) = start();
    let peers: Vec<_> = (0..8).map(|_| Peer::join(server.path()).unwrap()).collect();
    assert!(matches!(Peer::join(server.path()), Err(JoinError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof));
    peers[7].ring(0);
    wait(&peers[0].doorbells()[0]);
}

#[test]
fn peer_that_sends_is_disconnected() {
    let (_dir, server) = start();
    let mut quiet = Peer::join(server.path()).unwrap();
    let mut talks = std::os::unix::net::UnixStream::connect(server.path()).unwrap();
    until(&mut quiet, Membership::Joined);
    talks.write_all(b"?").unwrap();
    until(&mut quiet, Membership::Alone);
}

#[test]
fn dropped_server_disconnects_peers_and_removes_its_socket() {
    let (_dir, server) = start();
    let path = server.path().to_owned();
    let mut peer = Peer::join(&path).unwrap();
    drop(server);
    wait(&peer);
    assert_eq!(peer.update().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(!path.exists());
    assert!(matches!(Peer::join(&path), Err(JoinError::Io(error)) if error.kind() == ErrorKind::NotFound));
}

#[test]
fn server_of_another_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let other = std::thread::spawn(move || listener.accept().unwrap().0.write_all(&7_i64.to_le_bytes()).unwrap());
    assert!(matches!(Peer::join(&path), Err(JoinError::Protocol { seen: 7, .. })));
    other.join().unwrap();
}

/// A QEMU process. Dropping it kills the process.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// QEMU's ivshmem device joins, has the memory as BAR2, and notifies from its BAR0. The firmware is a HLT alone: QEMU's
/// test protocol reads and writes the machine's ports and memory.
#[test]
fn qemu_shares_memory_and_notifications() {
    let (dir, server) = start();
    let firmware = dir.path().join("hlt");
    std::fs::write(&firmware, [0xf4; 0x1_0000]).unwrap();
    let mut peer = Peer::join(server.path()).unwrap();
    let machine = Command::new("qemu-system-x86_64")
        .args(["-machine", "q35", "-display", "none", "-nodefaults", "-qtest", "stdio", "-qtest-log", "/dev/null"])
        .args(["-device", "ivshmem-doorbell,chardev=hca,vectors=5,addr=4", "-chardev"])
        .arg(format!("socket,path={},id=hca", server.path().display()))
        .arg("-bios")
        .arg(&firmware)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu-system-x86_64 cannot be started: install qemu-system-x86");
    let mut machine = Machine(machine);
    let (mut commands, mut output) = (machine.0.stdin.take().unwrap(), machine.0.stdout.take().unwrap());
    let mut ask = |command: String| {
        writeln!(commands, "{command}").unwrap();
        let mut answer = String::new();
        while !answer.ends_with('\n') {
            wait(&output);
            let mut bytes = [0; 256];
            let length = output.read(&mut bytes).unwrap();
            assert_ne!(length, 0, "QEMU ended at {command}");
            answer.push_str(str::from_utf8(&bytes[..length]).unwrap());
        }
        let answer = answer.trim_end().to_owned();
        assert!(answer.starts_with("OK"), "{command}: {answer}");
        answer
    };
    let config = |register: u32| format!("outl 0xcf8 {:#x}", 0x8000_0000_u32 | 4 << 11 | register);
    // BAR0 and BAR2 (64 bits), then memory space on.
    for (register, value) in [(0x10, 0xc000_0000_u32), (0x18, 0xd000_0000), (0x1c, 0), (0x04, 2)] {
        ask(config(register));
        ask(format!("outl 0xcfc {value:#x}"));
    }
    until(&mut peer, Membership::Joined);

    rustix::io::pwrite(peer.memory(), &0x1234_5678_u32.to_le_bytes(), 0x7f_fffc).unwrap();
    assert_eq!(ask(format!("readl {:#x}", 0xd07f_fffc_u32)), "OK 0x0000000012345678");
    for _ in 0..20 {
        // Until QEMU has read the new peer's vectors, it does not notify it.
        let start = Instant::now();
        while notifications(&peer.doorbells()[3]) == 0 {
            assert!(start.elapsed() < PATIENCE, "QEMU does not notify");
            ask(format!("writel {:#x} {:#x}", 0xc000_000c_u32, u32::from(peer.id()) << 16 | 3));
        }
        // The model restarts as another peer.
        drop(peer);
        peer = Peer::join(server.path()).unwrap();
        assert!(!peer.is_alone());
    }
    drop(machine);
    until(&mut peer, Membership::Alone);
}
