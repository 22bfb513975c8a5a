//! Fabric of the hypervisor: the physical HCA, the logical switches and LHCAs, and the packets between them.
//!
//! [`Fabric`] is the body of the event loop. One turn polls the HCA, passes its packets to the HSMA, serves the LHCAs,
//! and returns the time of the next turn. `Fabric` reaches hardware only through the driver, so that tests run the same
//! loop on the host. No input of the device or the wire makes it panic.

mod control;
mod drops;
mod limiter;
mod link;
mod physical;
mod setup;
#[cfg(test)]
pub(crate) mod tests;
mod uplink;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use hca_driver::{CHECK_PERIOD, Doorbell, Event, Hca, MAX_PACKET, Port, Queue, Rate};
use lhca_contract::{Call, Status};
use lhca_engine::{Doorbell as FastDoorbell, Guest, LogicalFabric, Policy, Refusal};
use subnet::{LhcaId, Time};

pub(crate) use self::control::AtPort;
pub use self::drops::Drops;
use self::limiter::Limiter;
use self::link::RateText;
use self::physical::Physical;
pub use self::setup::SetupError;
use self::uplink::{Uplink, uplink_id};

/// Logical fabric on a physical HCA.
pub struct Fabric<D, G: Guest> {
    hca: Hca<D>,
    logical: LogicalFabric<G>,
    /// Uplinks, in the order of the HSMA's identifiers.
    uplinks: Vec<Uplink>,
    buffer: Box<[u8; MAX_PACKET]>,
    drops: Drops,
    lines: Limiter,
    /// Time of the next turn as the last turn returned it.
    deadline: Time,
}

impl<D: Doorbell, G: Guest> Fabric<D, G> {
    /// Runs one turn of the event loop, and returns when the next one is due.
    pub fn turn(&mut self, now: Time) -> Next {
        let mut busy = self.poll_hca(now);
        for index in 0..self.uplinks.len() {
            self.count_errors(now, index);
            for queue in Queue::ALL {
                busy |= self.drain(now, index, queue);
            }
        }
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        busy |= self.logical.serve(now, &mut wire);
        let (hsma, mut out) = self.logical.split(now, &mut wire);
        let deadline = hsma.poll(now, &mut out);
        busy |= wire.is_link_requested();
        self.log_refusal(now);
        if busy {
            return Next::AtOnce;
        }
        let check = now.after(CHECK_PERIOD);
        self.deadline = deadline.map_or(check, |deadline| deadline.min(check));
        Next::At(self.deadline)
    }

    /// Handles up to [`BATCH`] events of the driver. Returns `true` if more may follow.
    fn poll_hca(&mut self, now: Time) -> bool {
        for _ in 0..BATCH {
            match self.hca.check(Duration::from_nanos(now.0)) {
                Some(event) => self.handle_event(now, event),
                None => return false,
            }
        }
        true
    }

    fn handle_event(&mut self, now: Time, event: Event) {
        match event {
            Event::Attached(identity) => {
                let (generation, ports) = (identity.generation, identity.ports);
                let plural = if ports == 1 { "" } else { "s" };
                self.lines.info(now, format_args!("hca generation {generation}, {ports} port{plural}"));
                if usize::from(ports) < self.uplinks.len() {
                    self.lines.warn(now, format_args!("the partition table has more uplinks than the HCA has ports"));
                }
            }
            Event::Refused(fault) => self.lines.warn(now, format_args!("hca refused: {fault}")),
            Event::Lost(fault) => self.lines.warn(now, format_args!("hca lost: {fault}")),
            Event::LinkUp { port, rate } => self.link_changed(now, port, Some(rate)),
            Event::LinkDown { port } => self.link_changed(now, port, None),
        }
    }

    fn link_changed(&mut self, now: Time, port: Port, rate: Option<Rate>) {
        let Some(index) = self.uplinks.iter().position(|uplink| uplink.port == port) else { return };
        self.uplinks[index].is_up = rate.is_some();
        let id = uplink_id(index);
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        let (hsma, mut out) = self.logical.split(now, &mut wire);
        match rate {
            Some(rate) => {
                hsma.link_up(now, id, link::to_subnet(rate), &mut out);
                self.lines.info(now, format_args!("uplink {port} is up, {}", RateText(rate)));
            }
            None => {
                hsma.link_down(now, id, &mut out);
                self.lines.info(now, format_args!("uplink {port} is down"));
            }
        }
    }

    /// Receives up to [`BATCH`] packets of one queue. Returns `true` if more work is due at once; else the queue raises
    /// an interrupt for its next packet.
    fn drain(&mut self, now: Time, index: usize, queue: Queue) -> bool {
        let port = self.uplinks[index].port;
        for _ in 0..BATCH {
            // A received packet causes at most one packet of its kind. While the send ring is full, received packets
            // stay in their ring: on data VLs the sender then gets no credit, and nothing is dropped.
            if !self.hca.has_room(port, queue) {
                return false;
            }
            match self.hca.receive(port, queue, &mut self.buffer) {
                Ok(Some(packet)) => {
                    let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
                    let (hsma, mut out) = self.logical.split(now, &mut wire);
                    hsma.receive(now, uplink_id(index), packet, &mut out);
                    if wire.is_link_requested() {
                        return true;
                    }
                }
                Ok(None) => return self.hca.arm(port, queue),
                Err(fault) => {
                    self.drops.count_slot();
                    self.lines.warn(now, format_args!("port {port}, {queue}: {fault}"));
                }
            }
        }
        true
    }

    /// Adds the device's new errors at a physical port to the logical switch's counters.
    fn count_errors(&mut self, now: Time, index: usize) {
        let uplink = &mut self.uplinks[index];
        let errors = uplink.new_errors(self.hca.counters(uplink.port));
        for (error, times) in errors {
            if times != 0 {
                let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
                self.logical.split(now, &mut wire).0.count(uplink_id(index), error, times);
            }
        }
    }

    /// Attaches the partition `guest` to the LHCA `id`.
    pub fn attach(&mut self, now: Time, id: LhcaId, guest: G, policy: Policy) {
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        self.logical.attach(now, id, guest, policy, &mut wire);
    }

    /// Detaches the partition from the LHCA `id`, and returns it if one was attached.
    pub fn detach(&mut self, now: Time, id: LhcaId) -> Option<G> {
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        self.logical.detach(now, id, &mut wire)
    }

    /// Removes the LHCA `id` from the fabric.
    pub fn remove(&mut self, now: Time, id: LhcaId) {
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        self.logical.remove(now, id, &mut wire);
    }

    /// Enables adaptive polling of partitions that notify often: for a processor that runs no partition.
    pub fn enable_polling(&mut self) {
        self.logical.start_polling();
    }

    /// Serves a doorbell of the object `handle` on the fast path. An unfinished doorbell needs [`Self::call`].
    #[inline(always)]
    pub fn pass(&mut self, now: Time, id: LhcaId, handle: u64) -> FastDoorbell {
        self.logical.pass(now, id, handle)
    }

    /// Executes a hypercall of a partition. Returns its result, and `true` if the next turn is due earlier than the
    /// last one returned.
    pub fn call(&mut self, now: Time, id: LhcaId, call: Call, arguments: [u64; 3]) -> (Result<u64, Status>, bool) {
        let had_pending = self.logical.has_pending();
        let mut wire = Physical::new(&mut self.hca, &self.uplinks, &mut self.drops);
        let result = self.logical.call(now, id, call, arguments, &mut wire);
        let (hsma, mut out) = self.logical.split(now, &mut wire);
        let sooner = hsma.poll(now, &mut out).is_some_and(|deadline| deadline < self.deadline);
        let wanted = sooner || wire.is_link_requested() || !had_pending && self.logical.has_pending();
        self.log_refusal(now);
        (result, wanted)
    }

    /// Logs a management packet that a partition's policy refused.
    fn log_refusal(&mut self, now: Time) {
        let Some((id, Refusal { method, attribute, dlid })) = self.logical.take_refusal() else { return };
        let Some(lhca) = self.logical.hsma().lhca(id) else { return };
        let what = format_args!("{} may not send {method:?} {attribute:?} to LID {dlid}", lhca.description());
        self.lines.warn(now, what);
    }

    /// Returns the number of packets dropped since start.
    #[must_use]
    pub fn drops(&self) -> Drops {
        Drops { undelivered: self.logical.undelivered(), ..self.drops }
    }
}

/// Time of the next turn, unless an interrupt wakes the processor earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Now: more work is due.
    AtOnce,
    /// At this time.
    At(Time),
}

/// Number of packets of one queue, and of events of the device, in one turn: a flood of one must not starve the others.
const BATCH: usize = 64;
