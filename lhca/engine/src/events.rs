//! Events of a node's ports, as the contract names them.

use iba::PortNum;
use lhca_contract::{Event, EventKind};
use subnet::Time;

use crate::guest::Guest;
use crate::lhca::Lhca;
use crate::objects::{EventQueue, Queue};

/// Returns the contract's kind of a port's event.
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
    /// Reports an event of a port, if the partition has an event queue.
    pub(crate) fn report_port_event(&mut self, now: Time, port: PortNum, kind: EventKind) {
        self.report(Event { kind, source: port.get().into(), time: now.0 });
    }

    /// Reports an event, or later that events were lost.
    pub(crate) fn report(&mut self, event: Event) {
        self.report_overrun(event.time);
        let Some(events) = self.events() else { return };
        let (guest, events) = events;
        if events.overrun || !events.queue.ring.has_room() && !events.queue.ring.arm() {
            events.overrun = true;
        } else {
            add(guest, &mut events.queue, event);
        }
    }

    /// Reports that events were lost, if so, once there is room.
    pub(crate) fn report_overrun(&mut self, time: u64) {
        let Some((guest, events)) = self.events() else { return };
        if events.overrun && (events.queue.ring.has_room() || events.queue.ring.arm()) {
            events.overrun = false;
            add(guest, &mut events.queue, Event { kind: EventKind::OVERRUN, source: 0, time });
        }
    }

    fn events(&mut self) -> Option<(&G, &mut EventQueue<G>)> {
        let handle = self.event_queues.indices().find_map(|place| self.event_queues.handle_at(place))?;
        self.event_queues.get_mut(handle).map(|events| (&self.guest, events))
    }
}

/// Adds an event; there must be room.
fn add<G: Guest>(guest: &G, queue: &mut Queue<G::Ring<Event>>, event: Event) {
    let words: [u64; size_of::<Event>() / 8] = zerocopy::transmute!(event);
    queue.push(guest, &words);
}
