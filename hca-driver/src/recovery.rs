//! Attachment to a generation of the device: taking it up, watching it, releasing it.

use core::sync::atomic::{Ordering, fence};
use core::time::Duration;

use hca_contract::{STATUS_VECTOR, device};

use crate::bar::Bar2;
use crate::doorbell::Doorbell;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::link::{LinkChange, Rate};
use crate::port::Port;
use crate::port_state::PortState;
use crate::registers::{
    DevicePageVolatileFieldAccess as _, DriverPageVolatileFieldAccess as _, PortPageVolatileFieldAccess as _,
    RequestPageVolatileFieldAccess as _,
};

/// Longest time between two calls of [`crate::Hca::check`]. The driver notices a dead device late by no more than this.
pub const CHECK_PERIOD: Duration = Duration::from_millis(device::HEARTBEAT_TIMEOUT_MS / 6);

/// A change of the device or of one of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The driver took up a device. Each of its links is down until [`Event::LinkUp`].
    Attached(Identity),
    /// The driver cannot drive the device that is present. It takes it up once its identity is right.
    Refused(Fault),
    /// The driver released the device. A [`Event::LinkDown`] came before for each link that was up. The device begins a
    /// new generation, and the driver waits for it.
    Lost(Fault),
    /// A port's link came up.
    LinkUp {
        /// The port.
        port: Port,
        /// Width and speed of the link.
        rate: Rate,
    },
    /// A port's link went down, even if it is up again by now.
    LinkDown {
        /// The port.
        port: Port,
    },
}

/// The driver's hold on the device: BAR2, the doorbell, and the generation that it took up.
#[derive(Debug)]
pub(crate) struct Attachment<D> {
    bar: Bar2,
    doorbell: D,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Released, or never attached. The driver takes up any generation but 0 and `past`.
    Waiting { past: u32 },
    /// As `Waiting`; and the device showed `fault` in `generation`.
    Refused { past: u32, generation: u32, fault: Fault },
    /// Attached. The heartbeat was seen to change at `moved` for the last time.
    Attached { identity: Identity, heartbeat: u32, moved: Duration },
    /// Released because of `fault`; events are left to report.
    Lost { past: u32, fault: Fault },
}

impl<D: Doorbell> Attachment<D> {
    /// Creates an attachment to no device yet. A generation that an earlier driver held is released.
    pub(crate) fn new(bar: Bar2, doorbell: D) -> Self {
        // The only two words of its own that a driver reads: an earlier driver left there the generation that it held.
        let (held, released) = (bar.driver().generation().read(), bar.driver().released().read());
        let mut new = Self { bar, doorbell, state: State::Waiting { past: if held == 0 { released } else { held } } };
        if held != 0 {
            new.release(held);
            if let Ok(target) = u16::try_from(new.bar.device().doorbell_target().read()) {
                new.doorbell.notify(target, STATUS_VECTOR);
            }
        }
        new
    }

    /// Returns BAR2.
    pub(crate) fn bar(&self) -> &Bar2 {
        &self.bar
    }

    /// Returns `true` while attached to a device that has `port`.
    pub(crate) fn has(&self, port: Port) -> bool {
        matches!(&self.state, State::Attached { identity, .. } if (port as u16) < identity.ports)
    }

    /// Returns the identity of the device while attached.
    pub(crate) fn identity(&self) -> Option<Identity> {
        match self.state {
            State::Attached { identity, .. } => Some(identity),
            State::Waiting { .. } | State::Refused { .. } | State::Lost { .. } => None,
        }
    }

    /// Returns `true` if [`Attachment::check`] has a loss to report.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost { .. })
    }

    /// Notifies the device that is attached; does nothing without one.
    pub(crate) fn notify(&mut self, vector: u16) {
        if let State::Attached { identity, .. } = self.state {
            self.doorbell.notify(identity.doorbell_target, vector);
        }
    }

    /// Watches the device at time `now`, and returns the next event; `None` once there is none.
    pub(crate) fn check(&mut self, now: Duration, ports: &mut [PortState; 2]) -> Option<Event> {
        match self.state {
            State::Waiting { past } | State::Refused { past, .. } => self.take_up(past, now, ports),
            State::Attached { identity, heartbeat, moved } => {
                let beat = self.bar.device().heartbeat().read();
                if beat != heartbeat {
                    self.state = State::Attached { identity, heartbeat: beat, moved: now };
                }
                let still = if beat == heartbeat { now.saturating_sub(moved) } else { Duration::ZERO };
                match self.watch(&identity, still, ports) {
                    Ok(event) => event,
                    Err(fault) => {
                        self.lose(fault);
                        self.report_loss(ports)
                    }
                }
            }
            State::Lost { .. } => self.report_loss(ports),
        }
    }

    /// Releases the device because of `fault`; [`Attachment::check`] reports it.
    pub(crate) fn lose(&mut self, fault: Fault) {
        let State::Attached { identity, .. } = self.state else { return };
        // A device that starts again makes its old words look impossible: report which of the two it was.
        let fault = generation_fault(&self.bar, identity.generation).unwrap_or(fault);
        self.state = State::Lost { past: identity.generation, fault };
        self.release(identity.generation);
        self.doorbell.notify(identity.doorbell_target, STATUS_VECTOR);
    }

    /// Writes that no generation is taken up, and that `generation` will never be again.
    ///
    /// The second word is what makes a device that was too slow to see the take-up begin a new generation. Without it
    /// the device would wait for a driver, and the driver for another generation, both for ever.
    fn release(&self, generation: u32) {
        self.bar.driver().released().write(generation);
        fence(Ordering::Release);
        self.bar.driver().generation().write(0);
    }

    /// Checks a device that is attached, and makes link requests; `still` is the age of its heartbeat.
    fn watch(
        &mut self,
        identity: &Identity,
        still: Duration,
        ports: &mut [PortState; 2],
    ) -> Result<Option<Event>, Fault> {
        if let Some(fault) = generation_fault(&self.bar, identity.generation) {
            return Err(fault);
        }
        if still >= HEARTBEAT_TIMEOUT {
            return Err(Fault::HeartbeatStopped(still));
        }
        for port in identity.ports() {
            let registers = self.bar.port(port);
            let link = ports[port as usize].link();
            if let Some(request) = link.next_request(port, registers.link_request_done().read())? {
                self.bar.request(port).link_request().write(request);
                self.doorbell.notify(identity.doorbell_target, STATUS_VECTOR);
            }
            if let Some(change) = link.observe(port, registers.link().read())? {
                return Ok(Some(change.of(port)));
            }
        }
        Ok(None)
    }

    /// Reports the links that went down with the device, then the loss of the device.
    fn report_loss(&mut self, ports: &mut [PortState; 2]) -> Option<Event> {
        let State::Lost { past, fault } = self.state else { return None };
        for port in Port::ALL {
            if let Some(change) = ports[port as usize].link().take_down() {
                return Some(change.of(port));
            }
        }
        self.state = State::Waiting { past };
        Some(Event::Lost(fault))
    }

    /// Takes up a device whose generation is neither 0 nor `past`. Reports a device that cannot be
    /// driven once for each generation and fault.
    fn take_up(&mut self, past: u32, now: Duration, ports: &mut [PortState; 2]) -> Option<Event> {
        let generation = self.bar.device().generation().read();
        if generation == 0 || generation == past {
            return None;
        }
        // The device writes its generation after its identity, and 0 before it changes that.
        fence(Ordering::Acquire);
        let identity = Identity::read(&self.bar, generation);
        fence(Ordering::Acquire);
        if self.bar.device().generation().read() != generation {
            return None;
        }
        let identity = match identity {
            Ok(identity) => identity,
            Err(fault) => {
                let is_known = matches!(self.state, State::Refused { generation: of, fault: known, .. }
                    if (of, known) == (generation, fault));
                self.state = State::Refused { past, generation, fault };
                return (!is_known).then_some(Event::Refused(fault));
            }
        };
        for port in identity.ports() {
            ports[port as usize].reset(&self.bar, port);
        }
        let heartbeat = self.bar.device().heartbeat().read();
        self.state = State::Attached { identity, heartbeat, moved: now };
        fence(Ordering::Release);
        self.bar.driver().generation().write(generation);
        self.doorbell.notify(identity.doorbell_target, STATUS_VECTOR);
        Some(Event::Attached(identity))
    }
}

impl LinkChange {
    fn of(self, port: Port) -> Event {
        match self {
            Self::Up(rate) => Event::LinkUp { port, rate },
            Self::Down => Event::LinkDown { port },
        }
    }
}

/// Returns the fault of a device whose generation is no longer `own`.
fn generation_fault(bar: &Bar2, own: u32) -> Option<Fault> {
    // After the word that raised the question: the device zeroes its generation before it changes any other.
    fence(Ordering::Acquire);
    match bar.device().generation().read() {
        seen if seen == own => None,
        0 => Some(Fault::Gone),
        seen => Some(Fault::Restarted { from: own, to: seen }),
    }
}

const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(device::HEARTBEAT_TIMEOUT_MS);
