//! The HCA model as a process, which may be killed and started again at any time.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use iba::{Guid, PortNum};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;

use crate::ivshmem::{Membership, Peer};
use cable::{Abilities, Cable, CableEnd, Hello, dial};
use hca_model::{Bar, Device, Identity};

/// Command line of a model.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Socket of the ivshmem server that holds BAR2
    #[arg(long)]
    pub ivshmem: PathBuf,
    /// Socket of a port's cable; once for each port, at most twice
    #[arg(long, required = true)]
    pub cable: Vec<PathBuf>,
    /// Node GUID in hexadecimal
    #[arg(long, value_parser = guid)]
    pub node_guid: Guid,
    /// Name of the HCA, for the log
    #[arg(long)]
    pub name: String,
    /// File to which the model appends its log
    #[arg(long)]
    pub log: PathBuf,
}

fn guid(text: &str) -> Result<Guid, String> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).map(Guid::new).map_err(|error| error.to_string())
}

/// Runs the model until the ivshmem server or the fabric ends.
///
/// # Errors
/// A socket or the log cannot be opened, BAR2 cannot be mapped, or epoll fails.
pub fn run(options: &Options) -> Result<()> {
    let log = File::options().create(true).append(true).open(&options.log);
    let log = log.with_context(|| format!("cannot open the log {}", options.log.display()))?;
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .target(env_logger::Target::Pipe(Box::new(log)))
        .format_timestamp_micros()
        .try_init()?;
    log::info!("{}: starts", options.name);
    let result = Model::start(options).and_then(Model::run);
    if let Err(error) = &result {
        log::error!("{}: {error:#}", options.name);
    }
    result
}

/// The device, and the descriptors that it waits for.
struct Model {
    device: Device,
    peer: Peer,
    epoll: OwnedFd,
    cables: Vec<WatchedCable>,
}

/// A cable in the event loop.
struct WatchedCable {
    /// Socket of the fabric's end.
    path: PathBuf,
    /// `true` while epoll also waits until the cable's socket is writable.
    waits_for_room: bool,
}

impl Model {
    fn start(options: &Options) -> Result<Self> {
        let peer = Peer::join(&options.ivshmem)?;
        let bar = Bar::map(peer.memory()).context("cannot map BAR2")?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        watch(&epoll, &peer, SERVER, EventFlags::IN)?;
        for doorbell in peer.doorbells() {
            // Edge-triggered: each doorbell is an event without a read of the descriptor.
            watch(&epoll, doorbell, DOORBELL, EventFlags::IN | EventFlags::ET)?;
        }
        let identity = Identity { node_guid: options.node_guid, doorbell_target: peer.id() };
        let ports = (1..).zip(&options.cable).map(|(port, _)| {
            let hello = Hello { node: options.node_guid, port: PortNum::new(port) };
            Cable::new(CableEnd::new(hello, Abilities::default()), None)
        });
        let device = Device::start(bar, identity, ports.collect(), |vector| peer.ring(vector));
        let cables = options.cable.iter().map(|path| WatchedCable { path: path.clone(), waits_for_room: false });
        let mut model = Self { device, peer, epoll, cables: cables.collect() };
        model.connect_cables()?;
        Ok(model)
    }

    /// Connects each cable that is not connected.
    ///
    /// # Errors
    /// The fabric does not listen at a cable's socket.
    fn connect_cables(&mut self) -> Result<()> {
        for (port, (cable, data)) in self.cables.iter_mut().zip(CABLES..).enumerate() {
            if self.device.cables().nth(port).is_some_and(|cable| cable.socket().is_none()) {
                let socket = dial(&cable.path).with_context(|| {
                    format!("cannot plug the cable of port {} into {}", port + 1, cable.path.display())
                })?;
                watch(&self.epoll, &socket, data, EventFlags::IN)?;
                cable.waits_for_room = false;
                self.device.plug(port, socket, |vector| self.peer.ring(vector));
            }
        }
        Ok(())
    }

    fn run(mut self) -> Result<()> {
        let mut events = Vec::with_capacity(16);
        let mut beats = 0_u32;
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            if now >= due {
                self.device.beat();
                beats = beats.wrapping_add(1);
                due = now + BEAT;
                if beats.is_multiple_of(REDIAL)
                    && let Err(gone) = self.connect_cables()
                {
                    return self.end(gone);
                }
            }
            let more = self.device.serve(|vector| self.peer.ring(vector));
            self.watch_full_cables()?;
            let timeout = if more { Duration::ZERO } else { due.saturating_duration_since(now) };
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::try_from(timeout)?)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for events"),
            }
            for event in &events {
                match event.data.u64() {
                    DOORBELL => {}
                    SERVER => match self.peer.update() {
                        Ok(Membership::Alone) => {
                            log::info!("the machine is gone");
                            self.device.abandon(|vector| self.peer.ring(vector));
                        }
                        Ok(_) => {}
                        Err(gone) => return self.end(Error::new(gone).context("the ivshmem server is gone")),
                    },
                    cable => {
                        let port = usize::try_from(cable - CABLES)?;
                        self.device.receive(port, |vector| self.peer.ring(vector))?;
                    }
                }
            }
        }
    }

    /// Stops the device after the ivshmem server or the fabric ended.
    fn end(self, gone: Error) -> Result<()> {
        log::info!("ends: {gone:#}");
        self.device.stop(|vector| self.peer.ring(vector));
        Ok(())
    }

    /// Lets epoll wait for room in the sockets that are full.
    fn watch_full_cables(&mut self) -> Result<()> {
        for ((cable, watched), data) in self.device.cables().zip(&mut self.cables).zip(CABLES..) {
            if let (Some(socket), true) = (cable.socket(), cable.is_full() != watched.waits_for_room) {
                watched.waits_for_room = cable.is_full();
                let flags = if watched.waits_for_room { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
                epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(data), flags)?;
            }
        }
        Ok(())
    }
}

fn watch(epoll: &OwnedFd, source: impl AsFd, data: u64, flags: EventFlags) -> Result<()> {
    epoll::add(epoll, source, epoll::EventData::new_u64(data), flags).context("cannot watch for events")
}

/// Period of the heartbeat: half of the limit, so that a late one is in time.
const BEAT: Duration = Duration::from_millis(hca_contract::device::HEARTBEAT_PERIOD_MS / 2);

/// Beats between two tries to connect a cable.
const REDIAL: u32 = 8;

// Tokens of epoll events; cables count on from `CABLES`.
const SERVER: u64 = 0;
const DOORBELL: u64 = 1;
const CABLES: u64 = 2;
