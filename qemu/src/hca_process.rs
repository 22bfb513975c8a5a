//! The device model as a process: one HCA of one machine, which may be killed and started again at any time.

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
use cable::{Abilities, Cable, End, Hello, dial};
use hca_model::{Bar, Device, Identity};

/// How often the heartbeat is due. Half of what is allowed, so that a late one is not too late.
const BEAT: Duration = Duration::from_millis(hca_contract::device::HEARTBEAT_PERIOD_MS / 2);

/// Beats from one try to the next to plug a cable in that was pulled.
const REDIAL: u32 = 8;

/// What a model is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Socket of the ivshmem server that holds BAR2
    #[arg(long)]
    pub ivshmem: PathBuf,
    /// Socket to plug a port's cable into; one for each port, two at most
    #[arg(long, required = true)]
    pub cable: Vec<PathBuf>,
    /// Node GUID in hexadecimal
    #[arg(long, value_parser = guid)]
    pub node_guid: Guid,
    /// Name of the machine, for the log
    #[arg(long)]
    pub name: String,
    /// File to append the log to
    #[arg(long)]
    pub log: PathBuf,
}

fn guid(text: &str) -> Result<Guid, String> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).map(Guid::new).map_err(|error| error.to_string())
}

/// Lives as the model until the ivshmem server or the fabric goes away.
///
/// # Errors
/// It cannot begin: a socket or the log cannot be opened, or BAR2 not be mapped. Or waiting for events fails.
pub fn run(options: &Options) -> Result<()> {
    let log = File::options().create(true).append(true).open(&options.log);
    let log = log.with_context(|| format!("cannot open the log {}", options.log.display()))?;
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .target(env_logger::Target::Pipe(Box::new(log)))
        .format_timestamp_micros()
        .try_init()?;
    log::info!("{}: starts", options.name);
    let result = Model::start(options).and_then(Model::live);
    if let Err(error) = &result {
        log::error!("{}: {error:#}", options.name);
    }
    result
}

/// The device with what it waits for.
struct Model {
    device: Device,
    peer: Peer,
    epoll: OwnedFd,
    cables: Vec<Watched>,
}

/// What the event loop knows of a cable.
struct Watched {
    /// Where to plug it in.
    path: PathBuf,
    /// Whether it is waited for to become writable.
    full: bool,
}

/// What an event is about; cables count on from [`CABLES`].
const SERVER: u64 = 0;
const DOORBELL: u64 = 1;
const CABLES: u64 = 2;

impl Model {
    fn start(options: &Options) -> Result<Self> {
        let peer = Peer::join(&options.ivshmem)?;
        let bar = Bar::map(peer.memory()).context("cannot map BAR2")?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        watch(&epoll, &peer, SERVER, EventFlags::IN)?;
        for doorbell in peer.doorbells() {
            // Each ring is an edge, so that the descriptor needs not be read.
            watch(&epoll, doorbell, DOORBELL, EventFlags::IN | EventFlags::ET)?;
        }
        let identity = Identity { node_guid: options.node_guid, doorbell_target: peer.id() };
        let ports = (1..).zip(&options.cable).map(|(port, _)| {
            let hello = Hello { node: options.node_guid, port: PortNum::new(port) };
            Cable::new(End::new(hello, Abilities::default()), None)
        });
        let device = Device::start(bar, identity, ports.collect(), |vector| peer.ring(vector));
        let cables = options.cable.iter().map(|path| Watched { path: path.clone(), full: false });
        let mut model = Self { device, peer, epoll, cables: cables.collect() };
        model.plug_in()?;
        Ok(model)
    }

    /// Plugs in each cable that is not.
    ///
    /// # Errors
    /// There is nothing any more to plug it into.
    fn plug_in(&mut self) -> Result<()> {
        for (port, (cable, data)) in self.cables.iter_mut().zip(CABLES..).enumerate() {
            if self.device.cables().nth(port).is_some_and(|cable| cable.socket().is_none()) {
                let socket = dial(&cable.path).with_context(|| {
                    format!("cannot plug the cable of port {} into {}", port + 1, cable.path.display())
                })?;
                watch(&self.epoll, &socket, data, EventFlags::IN)?;
                cable.full = false;
                self.device.plug(port, socket, |vector| self.peer.ring(vector));
            }
        }
        Ok(())
    }

    fn live(mut self) -> Result<()> {
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
                    && let Err(gone) = self.plug_in()
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

    /// Ends in good order: there is nothing left to be a model of.
    fn end(self, gone: Error) -> Result<()> {
        log::info!("ends: {gone:#}");
        self.device.stop(|vector| self.peer.ring(vector));
        Ok(())
    }

    /// Waits for room in the sockets that have none.
    fn watch_full_cables(&mut self) -> Result<()> {
        for ((cable, watched), data) in self.device.cables().zip(&mut self.cables).zip(CABLES..) {
            if let (Some(socket), true) = (cable.socket(), cable.is_full() != watched.full) {
                watched.full = cable.is_full();
                let flags = if watched.full { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
                epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(data), flags)?;
            }
        }
        Ok(())
    }
}

fn watch(epoll: &OwnedFd, source: impl AsFd, data: u64, flags: EventFlags) -> Result<()> {
    epoll::add(epoll, source, epoll::EventData::new_u64(data), flags).context("cannot watch for events")
}
