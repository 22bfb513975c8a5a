//! The device's life: taking up a generation, watching it, giving it up.

use core::sync::atomic::{Ordering, fence};
use core::time::Duration;

use hca_contract::{MAGIC, MAX_PORTS, STATUS_VECTOR, VERSION, device};

use crate::bar::Bar2;
use crate::fault::Fault;
use crate::hca::{Doorbell, Hca, Identity, Port};
use crate::link::{Change, Rate};
use crate::registers::{
    DevicePageVolatileFieldAccess as _, DriverPageVolatileFieldAccess as _, PortPageVolatileFieldAccess as _,
    RequestPageVolatileFieldAccess as _,
};

/// How often [`Hca::check`] is to be called at least: a dead device is noticed late by no more than this.
pub const CHECK_PERIOD: Duration = Duration::from_millis(device::HEARTBEAT_TIMEOUT_MS / 6);

const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(device::HEARTBEAT_TIMEOUT_MS);

/// What happened to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device is there and was taken up. Its links are down until told otherwise.
    Attached(Identity),
    /// A device is there and cannot be driven. The driver waits for its next generation.
    Refused(Fault),
    /// The device was given up; each of its links that was up was told to be down before. The driver has asked it to
    /// begin a new generation, and waits for that.
    Lost(Fault),
    /// A port's link came up.
    LinkUp {
        /// The port.
        port: Port,
        /// How fast it is.
        rate: Rate,
    },
    /// A port's link went down, be it for a moment only.
    LinkDown {
        /// The port.
        port: Port,
    },
}

/// Where in its life the device is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Life {
    /// Any generation but `past` will be taken up.
    Waiting { past: u32 },
    /// Taken up; the heartbeat moved last at `moved`.
    Attached { identity: Identity, heartbeat: u32, moved: Duration },
    /// To be given up, as soon as all its links are told to be down.
    Lost { past: u32, fault: Fault },
}

impl<D: Doorbell> Hca<D> {
    /// Looks after the device, and tells what happened to it. `now` is a monotonic time of the caller's. To be called until
    /// it says nothing: on each interrupt of the status vector, and at least every [`CHECK_PERIOD`].
    pub fn check(&mut self, now: Duration) -> Option<Event> {
        match self.life {
            Life::Waiting { past } => self.take_up(past, now),
            Life::Attached { identity, heartbeat, moved } => {
                let beat = self.bar.device().heartbeat().read();
                if beat != heartbeat {
                    self.life = Life::Attached { identity, heartbeat: beat, moved: now };
                }
                let still = if beat == heartbeat { now.saturating_sub(moved) } else { Duration::ZERO };
                match self.watch(&identity, still) {
                    Ok(event) => event,
                    Err(fault) => {
                        self.lose(fault);
                        self.tell_loss()
                    }
                }
            }
            Life::Lost { .. } => self.tell_loss(),
        }
    }

    /// Gives the device up because of `fault`; [`Hca::check`] will tell.
    pub(crate) fn lose(&mut self, fault: Fault) {
        let Life::Attached { identity, .. } = self.life else { return };
        // A device that starts again makes its old words look impossible: say which of the two it was.
        let fault = generation_fault(&self.bar, identity.generation).unwrap_or(fault);
        self.life = Life::Lost { past: identity.generation, fault };
        self.bar.driver().generation().write(0);
        self.doorbell.ring(identity.doorbell_target, STATUS_VECTOR);
    }

    /// One step of a device that is taken up.
    fn watch(&mut self, identity: &Identity, still: Duration) -> Result<Option<Event>, Fault> {
        if let Some(fault) = generation_fault(&self.bar, identity.generation) {
            return Err(fault);
        }
        if still >= HEARTBEAT_TIMEOUT {
            return Err(Fault::HeartbeatStopped(still));
        }
        for port in identity.ports() {
            let registers = self.bar.port(port);
            let link = &mut self.ports[port as usize].link;
            if let Some(request) = link.request(port, registers.link_request_done().read())? {
                self.bar.request(port).link_request().write(request);
                self.doorbell.ring(identity.doorbell_target, STATUS_VECTOR);
            }
            if let Some(change) = link.observe(port, registers.link().read())? {
                return Ok(Some(change.of(port)));
            }
        }
        Ok(None)
    }

    /// Tells of links that went with the device, then of the device.
    fn tell_loss(&mut self) -> Option<Event> {
        let Life::Lost { past, fault } = self.life else { return None };
        for port in Port::ALL {
            if let Some(change) = self.ports[port as usize].link.down() {
                return Some(change.of(port));
            }
        }
        self.life = Life::Waiting { past };
        Some(Event::Lost(fault))
    }

    /// Takes up a device whose generation is neither 0 nor `past`.
    fn take_up(&mut self, past: u32, now: Duration) -> Option<Event> {
        let generation = self.bar.device().generation().read();
        if generation == 0 || generation == past {
            return None;
        }
        // The device writes its generation after its identity, and 0 before it changes that.
        fence(Ordering::Acquire);
        let identity = identify(&self.bar, generation);
        fence(Ordering::Acquire);
        if self.bar.device().generation().read() != generation {
            return None;
        }
        let identity = match identity {
            Ok(identity) => identity,
            Err(fault) => {
                self.life = Life::Waiting { past: generation };
                return Some(Event::Refused(fault));
            }
        };
        for port in identity.ports() {
            self.begin(port);
        }
        let heartbeat = self.bar.device().heartbeat().read();
        self.life = Life::Attached { identity, heartbeat, moved: now };
        fence(Ordering::Release);
        self.bar.driver().generation().write(generation);
        self.doorbell.ring(identity.doorbell_target, STATUS_VECTOR);
        Some(Event::Attached(identity))
    }
}

impl Change {
    fn of(self, port: Port) -> Event {
        match self {
            Self::Up(rate) => Event::LinkUp { port, rate },
            Self::Down => Event::LinkDown { port },
        }
    }
}

/// What the device's generation says against its being the one that was taken up.
fn generation_fault(bar: &Bar2, own: u32) -> Option<Fault> {
    // After the word that raised the question: the device zeroes its generation before it changes any other.
    fence(Ordering::Acquire);
    match bar.device().generation().read() {
        seen if seen == own => None,
        0 => Some(Fault::Gone),
        seen => Some(Fault::Reborn { from: own, to: seen }),
    }
}

/// Reads and checks the device's identity.
fn identify(bar: &Bar2, generation: u32) -> Result<Identity, Fault> {
    let registers = bar.device();
    let magic = registers.magic().read();
    if magic != MAGIC {
        return Err(Fault::BadMagic(magic));
    }
    let version = registers.version().read();
    if version >> 16 != VERSION >> 16 {
        return Err(Fault::BadVersion(version));
    }
    let claimed = registers.ports().read();
    let ports = match u16::try_from(claimed) {
        Ok(ports @ 1..=MAX_PORTS) => ports,
        _ => return Err(Fault::BadPorts(claimed)),
    };
    let target = registers.doorbell_target().read();
    let doorbell_target = u16::try_from(target).map_err(|_| Fault::BadDoorbellTarget(target))?;
    let node_guid = registers.node_guid().read();
    if node_guid == 0 || node_guid.checked_add(u64::from(ports)).is_none() {
        return Err(Fault::BadNodeGuid(node_guid));
    }
    let device_id = registers.device_id().read().to_le_bytes();
    Ok(Identity {
        generation,
        ports,
        doorbell_target,
        node_guid,
        system_image_guid: registers.system_image_guid().read(),
        vendor_id: registers.vendor_id().read() & 0x00ff_ffff,
        device_id: u16::from_le_bytes([device_id[0], device_id[1]]),
        revision: u16::from_le_bytes([device_id[2], device_id[3]]),
    })
}
