//! The partition around a course: its port, its queue pairs and its buffers.
#![allow(clippy::cast_possible_truncation)] // usize has 64 bits

use core::fmt;

use heapless::{Deque, Vec};
use iba::{Gid, Lid};
use lhca_contract::{Completion, CompletionFlags, CompletionStatus, QueuePairKind, SendEntry, WorkFlags};
use lhca_driver::{CallError, CompletionQueue};
use platform::group::{GROUP, Q_KEY};
use platform::{Arrival, Buffer, Done, Endpoint, GRH, Setup};
use traffic_image::{Course, Message, Plan, Step, Tag, Tally, To, words};

use self::machine::{Machine, PORT};
use self::management::{Heard, Management};

mod machine;
mod management;

/// Buffers that datagrams are received in, as a power of two: more than all others can have under way to us.
const LOG_BUFFERS: u8 = 7;
/// Buffers of our own to send from: one for what is under way, one for what is next.
const OWN: usize = 2;
const MAX_PAYLOAD: usize = 4096;
/// Completions that there is room for, as a power of two.
const LOG_COMPLETIONS: u8 = LOG_BUFFERS + 2;

/// Why not all was right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("what was sent to lid {0} did not come back")]
    Lost(Lid),
    #[error("{0} datagrams were not as they should have been")]
    Wrong(u32),
    #[error("a datagram was not sent: {0:?}")]
    Unsent(CompletionStatus),
    #[error("the port counted {counted:?}, and {passed:?} passed it")]
    Counters { counted: Tally, passed: Tally },
}

/// Goes its course, and says what came of it.
pub(crate) fn run(machine: &mut Machine) -> Result<u64, Error> {
    let completions = CompletionQueue::create(&machine.lhca, machine.memory.ring(LOG_COMPLETIONS), platform::VECTOR)?;
    let management = Management::open(machine, &completions)?;
    let setup = Setup {
        kind: QueuePairKind::UD,
        port: PORT,
        q_key: Q_KEY,
        log_buffers: LOG_BUFFERS,
        completions: &completions,
    };
    let mut member = Member {
        endpoint: Endpoint::open(machine, &setup)?,
        completions,
        management,
        own: Vec::new(),
        on_their_way: Deque::new(),
        tally: Tally::default(),
        measured: None,
        course: None,
        error: None,
    };
    for _ in 0..1 << LOG_BUFFERS {
        let buffer = machine.memory.buffer(GRH + MAX_PAYLOAD);
        member.post(machine, buffer);
    }
    for _ in 0..OWN {
        let buffer = machine.memory.buffer(GRH + MAX_PAYLOAD);
        member.release(machine, buffer);
    }
    member.go(machine)
}

/// A member of the group.
struct Member {
    completions: CompletionQueue,
    endpoint: Endpoint,
    management: Management,
    own: Vec<Buffer, OWN>,
    /// Of each datagram that is being sent its words, and whether it is to the group: they are sent in order.
    on_their_way: Deque<(u64, bool), { 1 << LOG_BUFFERS }>,
    tally: Tally,
    /// Counters of the port, and the traffic until then.
    measured: Option<(Tally, Tally)>,
    course: Option<Course>,
    error: Option<Error>,
}

impl Member {
    fn go(&mut self, machine: &Machine) -> Result<u64, Error> {
        let mut before = None;
        let mut step = None;
        loop {
            self.serve(machine);
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            let now = machine.time();
            let Some(course) = &mut self.course else {
                let wake = self.management.join(machine, now)?;
                self.sleep(machine, wake)?;
                continue;
            };
            match *step.get_or_insert_with(|| course.next(now)) {
                Step::Send(message) if self.send(machine, &message) => step = None,
                Step::Send(_) => self.sleep(machine, u64::MAX)?,
                Step::Measure => {
                    let Some((counted, passed)) = self.measure(machine)? else { continue };
                    match before.replace((counted, passed)) {
                        None => log::info!("all peers are there"),
                        Some(first) => self.judge((counted - first.0, passed - first.1))?,
                    }
                    step = None;
                }
                Step::Wait(until) => {
                    step = None;
                    self.sleep(machine, until)?;
                }
                Step::Lost(lid) => return Err(Error::Lost(lid)),
                Step::Done if machine.information.has("stay") => self.sleep(machine, u64::MAX)?,
                Step::Done => return Ok(0),
            }
        }
    }

    /// Says what came of it, and whether all was right.
    fn judge(&self, (counted, passed): (Tally, Tally)) -> Result<(), Error> {
        let totals = self.course.as_ref().map(Course::totals).unwrap_or_default();
        log::info!("done: {}", Shown(&totals));
        if totals.wrong != 0 {
            return Err(Error::Wrong(totals.wrong));
        }
        if !counted.is_with_management(&passed) {
            return Err(Error::Counters { counted, passed });
        }
        log::info!("counters right: {}", Shown(&passed));
        Ok(())
    }

    /// Sleeps until something arrives, or until this time.
    fn sleep(&mut self, machine: &Machine, until: u64) -> Result<(), Error> {
        if !self.completions.arm() {
            machine.wait_until(until)?;
        }
        Ok(())
    }

    /// Deals with all that arrived.
    fn serve(&mut self, machine: &Machine) {
        while let Some(done) = self.completions.next(&machine.lhca) {
            self.handle_completion(machine, &done);
        }
    }

    /// Handles a completion. The port's counters are taken at once, since later datagrams are not counted yet.
    fn handle_completion(&mut self, machine: &Machine, done: &Completion) {
        match self.endpoint.take(done) {
            Some(Done::Arrived(arrival)) => self.receive(machine, arrival),
            Some(Done::Unfilled(buffer)) => self.post(machine, buffer),
            Some(Done::Sent(buffer, status)) => self.sent(machine, buffer, status),
            None => match self.management.take(machine, done) {
                Some(Heard::Joined { own, group }) => self.begin(machine, own, group),
                Some(Heard::Counters(counted)) => self.measured = Some((counted, self.tally)),
                None => {}
            },
        }
    }

    /// Begins its course.
    fn begin(&mut self, machine: &Machine, own: Lid, group: Lid) {
        let attached = lhca_contract::MulticastGroup { gid: GROUP, lid: group, reserved: [0; 6] };
        if let Err(error) = self.endpoint.attach(&machine.lhca, &attached) {
            self.error = Some(error.into());
            return;
        }
        let number = |name| machine.information.number(name).map(|number| number as usize);
        let peers = number("peers").unwrap_or(1);
        let senders = number("senders").unwrap_or(peers);
        let step = number("step").unwrap_or(256).max(1);
        log::info!("lid {own} is in the group {group}");
        self.course = Some(Course::new(Plan { own, group, peers, senders, step }));
    }

    /// Counters of the port and the traffic until then, once known.
    fn measure(&mut self, machine: &Machine) -> Result<Option<(Tally, Tally)>, Error> {
        if self.measured.is_none() {
            self.management.ask_counters(machine)?;
            self.sleep(machine, u64::MAX)?;
        }
        Ok(self.measured.take())
    }

    fn receive(&mut self, machine: &Machine, arrival: Arrival) {
        let Completion { slid, flags, immediate, .. } = arrival.completion;
        let grh = flags.contains(CompletionFlags::GRH);
        let to_group = grh && destination(&arrival) == GROUP;
        let own = self.course.as_ref().map(Course::own);
        // What we send to the group we receive as its member, without that it passes the port.
        if own == Some(slid) {
            return self.post(machine, arrival.buffer);
        }
        self.tally.received(words(arrival.length(), grh), to_group);
        let (tag, address) = (Tag::from_bytes(immediate), arrival.sender(Q_KEY));
        let Some(course) = &mut self.course else { return self.post(machine, arrival.buffer) };
        if course.own() == tag.sender {
            course.returned(slid, tag, arrival.payload(), &address);
            self.post(machine, arrival.buffer);
        } else {
            course.requested(slid, tag, arrival.payload(), to_group);
            let length = arrival.length();
            self.put_out(machine, arrival.buffer, length, &address, false);
        }
    }

    /// Sends what a course says; `false` if it has to wait.
    fn send(&mut self, machine: &Machine, message: &Message) -> bool {
        if self.on_their_way.is_full() {
            return false;
        }
        let Some(mut buffer) = self.own.pop() else { return false };
        message.key.fill(&mut buffer[GRH..GRH + message.size]);
        let (mut address, to_group) = match message.to {
            To::Peer(address) => (address, false),
            To::Group => (group_address(message.key.receiver), true),
        };
        address.flags |= WorkFlags::IMMEDIATE;
        address.immediate = message.tag.to_bytes();
        self.put_out(machine, buffer, message.size, &address, to_group);
        true
    }

    fn put_out(&mut self, machine: &Machine, buffer: Buffer, length: usize, address: &SendEntry, to_group: bool) {
        let words = words(length, address.flags.contains(WorkFlags::GRH));
        match self.endpoint.send(machine, buffer, GRH, length, address) {
            // There is a place for each that can be sent.
            Ok(()) => _ = self.on_their_way.push_back((words, to_group)),
            Err(buffer) => self.post(machine, buffer),
        }
    }

    fn sent(&mut self, machine: &Machine, buffer: Buffer, status: CompletionStatus) {
        let passed = self.on_their_way.pop_front();
        match (status, passed) {
            (CompletionStatus::SUCCESS, Some((words, to_group))) => self.tally.sent(words, to_group),
            _ => self.error = Some(Error::Unsent(status)),
        }
        self.release(machine, buffer);
    }

    /// Keeps a buffer to send from, or lets it be filled.
    fn release(&mut self, machine: &Machine, buffer: Buffer) {
        if let Err(buffer) = self.own.push(buffer) {
            self.post(machine, buffer);
        }
    }

    fn post(&mut self, machine: &Machine, buffer: Buffer) {
        // There are as many places as buffers, but for our own.
        let _ = self.endpoint.post(machine, buffer);
    }
}

/// Whom a datagram with a global route header was for.
fn destination(arrival: &Arrival) -> Gid {
    let grh: Option<&[u8; GRH]> = arrival.buffer.first_chunk();
    grh.map_or(Gid::default(), |grh| {
        let grh: iba::grh::Grh = zerocopy::transmute!(*grh);
        grh.dgid
    })
}

fn group_address(lid: Lid) -> SendEntry {
    SendEntry {
        flags: WorkFlags::GRH,
        dlid: lid,
        remote_qp: iba::Qpn::MULTICAST,
        q_key: Q_KEY,
        hop_limit: 1,
        destination_gid: GROUP,
        ..SendEntry::default()
    }
}

/// Fields as they stand, without the type's name.
struct Shown<'a, T>(&'a T);

impl fmt::Display for Shown<'_, traffic_image::Totals> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let traffic_image::Totals { unicast, multicast, returned, served, wrong } = self.0;
        write!(
            f,
            "{unicast} unicast and {multicast} multicast sent, {returned} returned, {served} served, {wrong} wrong"
        )
    }
}

impl fmt::Display for Shown<'_, Tally> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { unicast_xmit, unicast_rcv, multicast_xmit, multicast_rcv, .. } = self.0;
        write!(f, "{unicast_xmit} and {multicast_xmit} sent, {unicast_rcv} and {multicast_rcv} received")
    }
}
