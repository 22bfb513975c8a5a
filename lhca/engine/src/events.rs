//! Events, from the node's words into the contract's.

use iba::PortNum;
use lhca_contract::{Event, EventKind};
use subnet::Time;

use crate::guest::Guest;
use crate::lhca::Lhca;
use crate::objects::{EventQueue, Queue};

/// What the partition is told of what happened to a port.
pub(crate) fn kind(event: subnet::Event) -> EventKind {
    match event {
        subnet::Event::Active => EventKind::PORT_ACTIVE,
        subnet::Event::Inactive => EventKind::PORT_DOWN,
        subnet::Event::LidChange => EventKind::LID_CHANGE,
        subnet::Event::PKeyChange => EventKind::P_KEY_CHANGE,
        subnet::Event::SmChange => EventKind::SM_CHANGE,
        subnet::Event::GidChange => EventKind::GID_CHANGE,
        subnet::Event::ClientReregister => EventKind::CLIENT_REREGISTER,
    }
}

impl<G: Guest> Lhca<G> {
    /// Tells of something that happened to a port, if the partition has an event queue.
    pub(crate) fn tell_port(&mut self, now: Time, port: PortNum, kind: EventKind) {
        self.tell(Event { kind, source: port.get().into(), time: now.0 });
    }

    /// Tells of something, or later that something was lost.
    pub(crate) fn tell(&mut self, event: Event) {
        self.tell_overrun(event.time);
        let Some(events) = self.events() else { return };
        let (guest, events) = events;
        if events.overrun || !events.queue.ring.has_room() && !events.queue.ring.arm() {
            events.overrun = true;
        } else {
            add(guest, &mut events.queue, event);
        }
    }

    /// Tells that events were lost, if so, and if there is room now.
    pub(crate) fn tell_overrun(&mut self, time: u64) {
        let Some((guest, events)) = self.events() else { return };
        if events.overrun && (events.queue.ring.has_room() || events.queue.ring.arm()) {
            events.overrun = false;
            add(guest, &mut events.queue, Event { kind: EventKind::OVERRUN, source: 0, time });
        }
    }

    fn events(&mut self) -> Option<(&G, &mut EventQueue<G>)> {
        let name = self.event_queues.places().find_map(|place| self.event_queues.name_at(place))?;
        self.event_queues.get_mut(name).map(|events| (&self.guest, events))
    }
}

/// Adds an event, which there is room for.
fn add<G: Guest>(guest: &G, queue: &mut Queue<G::Ring<Event>>, event: Event) {
    let words: [u64; size_of::<Event>() / 8] = zerocopy::transmute!(event);
    queue.push(guest, &words);
}
