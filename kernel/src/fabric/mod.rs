//! The fabric: the physical HCA on one side, the logical switches and LHCAs on the other, and what runs between them.
//!
//! [`Fabric`] is the body of the event loop. It is told the time, takes what the HCA has, lets the HSMA deal with it, and
//! says when it wants to be called again. It touches no hardware but through the driver, so that the same loop runs on
//! the host in tests. Nothing that the device or the wire says makes it panic.

mod control;
mod limiter;
mod link;
mod physical;
mod setup;
#[cfg(test)]
pub(crate) mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use hca_driver::{CHECK_PERIOD, Counters, Doorbell, Event, Hca, MAX_PACKET, Port, Queue};
use lhca_contract::{Call, Status};
use lhca_engine::{Guest, Logical, Policy, Refusal};
use subnet::{LhcaId, PortError, Time, UplinkId};

pub(crate) use self::control::AtPort;
use self::limiter::Limiter;
use self::physical::Physical;
pub use self::setup::SetupError;

/// Packets that one queue may have in one turn, and events of the device: whoever floods one must not starve the others.
const BATCH: usize = 64;

/// The logical fabric on a physical HCA.
pub struct Fabric<D, G: Guest> {
    hca: Hca<D>,
    logical: Logical<G>,
    /// The physical port of each uplink of the HSMA's.
    uplinks: Vec<Uplink>,
    buffer: Box<[u8; MAX_PACKET]>,
    drops: Drops,
    lines: Limiter,
    /// By when the loop wanted to be called again.
    deadline: Time,
}

struct Uplink {
    port: Port,
    up: bool,
    /// The device's counters, as far as they were told to the logical switch.
    told: Counters,
}

/// Packets that came to nothing here, by reason. They saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// What the device called a packet was none.
    pub slots: u64,
    /// For a consumer, and there is none.
    pub undelivered: u64,
    /// Could not be sent: no device, or no room.
    pub unsent: u64,
}

/// When the loop is to be called again, if nothing wakes it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Now: there is more to do.
    AtOnce,
    /// At this time.
    At(Time),
}

impl<D: Doorbell, G: Guest> Fabric<D, G> {
    /// Does what there is to do.
    pub fn turn(&mut self, now: Time) -> Next {
        let mut busy = self.tend_hca(now);
        for index in 0..self.uplinks.len() {
            self.tell_counters(now, index);
            for queue in Queue::ALL {
                busy |= self.drain(now, index, queue);
            }
        }
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        busy |= self.logical.serve(now, &mut wire);
        let (hsma, mut out) = self.logical.split(now, &mut wire);
        let deadline = hsma.poll(now, &mut out);
        busy |= wire.link_requested;
        self.tell_refusal(now);
        if busy {
            return Next::AtOnce;
        }
        let check = now.after(CHECK_PERIOD);
        self.deadline = deadline.map_or(check, |deadline| deadline.min(check));
        Next::At(self.deadline)
    }

    /// Takes what the driver tells of the device. Whether there may be more.
    fn tend_hca(&mut self, now: Time) -> bool {
        for _ in 0..BATCH {
            match self.hca.check(Duration::from_nanos(now.0)) {
                Some(event) => self.heed(now, event),
                None => return false,
            }
        }
        true
    }

    fn heed(&mut self, now: Time, event: Event) {
        match event {
            Event::Attached(identity) => {
                let (generation, ports) = (identity.generation, identity.ports);
                let plural = if ports == 1 { "" } else { "s" };
                self.lines.info(now, format_args!("hca generation {generation}, {ports} port{plural}"));
                if usize::from(ports) < self.uplinks.len() {
                    self.lines.warn(now, format_args!("the partition table has an uplink that the HCA lacks"));
                }
            }
            Event::Refused(fault) => self.lines.warn(now, format_args!("hca refused: {fault}")),
            Event::Lost(fault) => self.lines.warn(now, format_args!("hca lost: {fault}")),
            Event::LinkUp { port, rate } => self.link_changed(now, port, Some(rate)),
            Event::LinkDown { port } => self.link_changed(now, port, None),
        }
    }

    fn link_changed(&mut self, now: Time, port: Port, rate: Option<hca_driver::Rate>) {
        let Some(index) = self.uplinks.iter().position(|uplink| uplink.port == port) else { return };
        self.uplinks[index].up = rate.is_some();
        let id = uplink_id(index);
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        let (hsma, mut out) = self.logical.split(now, &mut wire);
        match rate {
            Some(rate) => {
                hsma.link_up(now, id, link::to_subnet(rate), &mut out);
                self.lines.info(now, format_args!("uplink {port} is up, {}", link::Shown(rate)));
            }
            None => {
                hsma.link_down(now, id, &mut out);
                self.lines.info(now, format_args!("uplink {port} is down"));
            }
        }
    }

    /// Takes the packets of one queue. Whether there is more to do at once; if not, an interrupt will tell.
    fn drain(&mut self, now: Time, index: usize, queue: Queue) -> bool {
        let port = self.uplinks[index].port;
        for _ in 0..BATCH {
            // A packet that comes in sends at most one of its kind out again. While there is no room for that, what comes
            // in stays where it is: on data lanes the sender then has no credit, and nothing is dropped.
            if !self.hca.has_room(port, queue) {
                return false;
            }
            match self.hca.receive(port, queue, &mut self.buffer) {
                Ok(Some(packet)) => {
                    let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
                    let (hsma, mut out) = self.logical.split(now, &mut wire);
                    hsma.receive(now, uplink_id(index), packet, &mut out);
                    if wire.link_requested {
                        return true;
                    }
                }
                Ok(None) => return self.hca.arm(port, queue),
                Err(fault) => {
                    self.drops.slots = self.drops.slots.saturating_add(1);
                    self.lines.warn(now, format_args!("port {port}, {queue}: {fault}"));
                }
            }
        }
        true
    }

    /// Adds to the logical switch's counters what the device counted at the physical port.
    fn tell_counters(&mut self, now: Time, index: usize) {
        let uplink = &mut self.uplinks[index];
        let new = self.hca.counters(uplink.port);
        let old = core::mem::replace(&mut uplink.told, new);
        let errors = [
            (PortError::Rcv, old.rcv_errors, new.rcv_errors),
            (PortError::Vl15Dropped, old.vl15_dropped, new.vl15_dropped),
            (PortError::XmitDiscard, old.xmit_discards, new.xmit_discards),
            (PortError::XmitDiscard, old.vl15_send_dropped, new.vl15_send_dropped),
        ];
        for (error, old, new) in errors {
            // A device that began anew counts from 0.
            let times = if new < old { new } else { new - old };
            if times != 0 {
                let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
                let times = u32::try_from(times).unwrap_or(u32::MAX);
                self.logical.split(now, &mut wire).0.count(uplink_id(index), error, times);
            }
        }
    }

    /// Gives the LHCA `id` to a partition that begins.
    pub fn attach(&mut self, now: Time, id: LhcaId, guest: G, policy: Policy) {
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        self.logical.attach(now, id, guest, policy, &mut wire);
    }

    /// Takes the LHCA `id` from a partition that ended, and gives the partition back.
    pub fn detach(&mut self, now: Time, id: LhcaId) -> Option<G> {
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        self.logical.detach(now, id, &mut wire)
    }

    /// Takes the LHCA `id` out of the fabric.
    pub fn remove(&mut self, now: Time, id: LhcaId) {
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        self.logical.remove(now, id, &mut wire);
    }

    /// Watches partitions that ring again and again, so that they need not: for a processor that does nothing else.
    pub fn watch_partitions(&mut self) {
        self.logical.watch(true);
    }

    /// A partition rings for its object `handle`: whether the loop is to be called earlier than it wanted, if all that there is
    /// to do could be done in short, and was. If not, it is for [`Self::call`].
    #[inline(always)]
    pub fn pass(&mut self, now: Time, id: LhcaId, handle: u64) -> Option<bool> {
        self.logical.pass(now, id, handle)
    }

    /// Does what a partition's hypercall asks for; its value, or what the partition is told. And whether the loop is to be
    /// called earlier than it wanted.
    pub fn call(&mut self, now: Time, id: LhcaId, call: Call, arguments: [u64; 3]) -> (Result<u64, Status>, bool) {
        let was_busy = self.logical.is_busy();
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        let result = self.logical.call(now, id, call, arguments, &mut wire);
        let (hsma, mut out) = self.logical.split(now, &mut wire);
        let sooner = hsma.poll(now, &mut out).is_some_and(|deadline| deadline < self.deadline);
        let wanted = sooner || wire.link_requested || !was_busy && self.logical.is_busy();
        self.tell_refusal(now);
        (result, wanted)
    }

    /// Tells of a management packet that a partition was not allowed to send.
    fn tell_refusal(&mut self, now: Time) {
        let Some((id, Refusal { method, attribute, dlid })) = self.logical.take_refusal() else { return };
        let Some(lhca) = self.logical.hsma().lhca(id) else { return };
        let what = format_args!("{} may not send {method:?} {attribute:?} to LID {dlid}", lhca.description());
        self.lines.warn(now, what);
    }

    /// What came to nothing here.
    #[must_use]
    pub fn drops(&self) -> Drops {
        Drops { undelivered: self.logical.undelivered(), ..self.drops }
    }
}

/// The HSMA's name of the uplink at `index`; there are two at most.
fn uplink_id(index: usize) -> UplinkId {
    UplinkId(index as u8)
}
