//! The device: identity, generations, ports.

use std::os::fd::OwnedFd;

use hca_contract::{MAGIC, PACKET_SLOT, STATUS_VECTOR, VERSION, device, driver};
use iba::Guid;

use super::bar::Bar;
use super::port::Port;
use cable::{BUFFER, Cable, MessageError};

/// Vendor id of every device, 24 bits: locally administered, as its GUIDs are.
const VENDOR_ID: u32 = 0x02_5054;
const DEVICE_ID: u32 = 1;
const REVISION: u32 = 1;

/// Identity of a device.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Node GUID; port `p`'s GUID (1-based) is this plus `p`.
    pub node_guid: Guid,
    /// Target of the driver's doorbell; its meaning is the carrier's.
    pub doorbell_target: u16,
}

/// A device that runs. `interrupt` interrupts the driver at a vector.
#[derive(Debug)]
pub struct Device {
    bar: Bar,
    identity: Identity,
    ports: Vec<Port>,
    generation: u32,
    /// `true` if the driver has taken up this generation.
    attached: bool,
    heartbeat: u32,
    receive_buffer: [u8; BUFFER],
    send_buffer: [u8; PACKET_SLOT],
}

impl Device {
    /// Starts a device in `bar`, whatever a former device left there, with one port for each of one or two `cables`.
    pub fn start(bar: Bar, identity: Identity, cables: Vec<Cable>, mut interrupt: impl FnMut(u16)) -> Self {
        let ports = cables.into_iter().zip(0..hca_contract::MAX_PORTS).map(|(cable, number)| Port::new(number, cable));
        let mut device = Self {
            generation: bar.load(device::GENERATION),
            heartbeat: bar.load(device::HEARTBEAT),
            bar,
            identity,
            ports: ports.collect(),
            attached: false,
            receive_buffer: [0; BUFFER],
            send_buffer: [0; PACKET_SLOT],
        };
        device.begin(&mut interrupt);
        device
    }

    /// Returns the cable of each port, to wait for.
    pub fn cables(&self) -> impl Iterator<Item = &Cable> {
        self.ports.iter().map(Port::cable)
    }

    /// Moves the heartbeat; call it at least every [`device::HEARTBEAT_PERIOD_MS`] milliseconds.
    pub fn beat(&mut self) {
        self.heartbeat = self.heartbeat.wrapping_add(1);
        self.bar.store(device::HEARTBEAT, self.heartbeat);
    }

    /// Reads the cable of port `index` (from 0), and sends messages that waited for room. One call may leave messages
    /// unread. Call [`Device::serve`] afterwards.
    ///
    /// # Errors
    /// The other end sent an invalid message. The device has unplugged the cable.
    pub fn receive(&mut self, index: usize, mut interrupt: impl FnMut(u16)) -> Result<(), MessageError> {
        match self.ports.get_mut(index) {
            Some(port) => port.receive(&self.bar, &mut self.receive_buffer, &mut interrupt),
            None => Ok(()),
        }
    }

    /// Plugs a connected socket into port `index` (from 0), whose cable is unplugged.
    pub fn plug(&mut self, index: usize, socket: OwnedFd, mut interrupt: impl FnMut(u16)) {
        if let Some(port) = self.ports.get_mut(index) {
            port.plug(&self.bar, socket, &mut interrupt);
        }
    }

    /// Serves the driver; call it on each notification, and after each other call. Returns `true` if work is left for
    /// which no notification will come.
    pub fn serve(&mut self, mut interrupt: impl FnMut(u16)) -> bool {
        let taken_up = self.bar.load(driver::GENERATION) == self.generation;
        let is_released = self.bar.load(driver::RELEASED) == self.generation;
        if is_released || self.attached && !taken_up {
            self.begin(&mut interrupt);
        } else if taken_up && !self.attached {
            self.attached = true;
            log::info!("the driver took up generation {}", self.generation);
            self.ports.iter_mut().for_each(|port| port.enable(&self.bar, &mut interrupt));
        }
        if !self.attached {
            return false;
        }
        let mut more = false;
        for port in &mut self.ports {
            more |= port.serve(&self.bar, &mut self.send_buffer, &mut interrupt);
        }
        more
    }

    /// Takes the links down and begins a new generation, because the driver's machine is gone.
    pub fn abandon(&mut self, mut interrupt: impl FnMut(u16)) {
        self.begin(&mut interrupt);
    }

    /// Ends the device in good order.
    pub fn stop(self, mut interrupt: impl FnMut(u16)) {
        self.bar.store(device::GENERATION, 0);
        interrupt(STATUS_VECTOR);
    }

    /// Begins a new generation.
    fn begin(&mut self, interrupt: &mut impl FnMut(u16)) {
        let bar = &self.bar;
        bar.store(device::GENERATION, 0);
        bar.fence();
        let known = [bar.load(driver::GENERATION), bar.load(driver::RELEASED)];
        self.generation = next_generation(self.generation, known);
        self.attached = false;
        bar.store(device::MAGIC, MAGIC);
        bar.store(device::VERSION, VERSION);
        bar.store(device::PORTS, u32::try_from(self.ports.len()).unwrap_or(0));
        bar.store(device::DOORBELL_TARGET, self.identity.doorbell_target.into());
        bar.store64(device::NODE_GUID, self.identity.node_guid.get());
        bar.store64(device::SYSTEM_IMAGE_GUID, self.identity.node_guid.get());
        bar.store(device::VENDOR_ID, VENDOR_ID);
        bar.store(device::DEVICE_ID, DEVICE_ID | REVISION << 16);
        self.ports.iter_mut().for_each(|port| port.reset(bar));
        bar.store(device::GENERATION, self.generation);
        log::info!("generation {} begins", self.generation);
        interrupt(STATUS_VECTOR);
    }
}

/// Returns the generation after `last`: never 0, and none of `known`, which the driver took up or released, so that a
/// driver's old word never matches a new generation. A device that ended in good order, or died as it began, left 0;
/// then the driver's words are the last that are known.
fn next_generation(last: u32, known: [u32; 2]) -> u32 {
    let last = [last, known[0], known[1]].into_iter().find(|&word| word != 0).unwrap_or(0);
    let mut next = last.wrapping_add(1);
    while next == 0 || known.contains(&next) {
        next = next.wrapping_add(1);
    }
    next
}
