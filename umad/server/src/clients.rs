//! Attached clients, and the choice of the client that receives a MAD.

use iba::PortNum;
use iba::mad::{AttributeId, Class, MadHeader, Method};

use super::NodePort;
use super::pending::is_response;
use super::slot::Slot;

/// Attached client.
#[derive(Clone, Debug)]
pub(super) struct Client<A> {
    /// Port of the client.
    at: NodePort,
    /// `true` if the client is an SM.
    is_sm: bool,
    /// `true` if the client sent an InformInfo, so that reports are for it.
    is_subscriber: bool,
    /// Source of the client's control messages.
    address: A,
    mark: Mark,
}

impl<A: PartialEq> Client<A> {
    /// Returns `true` if the client's control messages come from `address`.
    pub(super) fn has_address(&self, address: &A) -> bool {
        self.address == *address
    }
}

impl<A> Client<A> {
    /// Returns the port of the client.
    pub(super) fn at(&self) -> NodePort {
        self.at
    }

    /// Returns `true` if the client is an SM.
    pub(super) fn is_sm(&self) -> bool {
        self.is_sm
    }

    /// Moves the client to port `port` of its node.
    pub(super) fn move_to(&mut self, port: PortNum) {
        self.at.port = port;
    }

    /// Makes the client an SM or not. Returns `true` if that is a change.
    pub(super) fn set_is_sm(&mut self, is_sm: bool) -> bool {
        std::mem::replace(&mut self.is_sm, is_sm) != is_sm
    }
}

/// Bits 48-63 of the transaction id of each request of a client, by which a response finds the client: a generation of
/// the slot, and the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark(u16);

impl Mark {
    const SHIFT: u32 = 48;

    fn of(header: &MadHeader) -> Self {
        let [high, low, ..] = header.transaction_id.get().to_be_bytes();
        Self(u16::from_be_bytes([high, low]))
    }

    fn put(self, header: &mut MadHeader) {
        let rest = header.transaction_id.get() & !(0xffff << Self::SHIFT);
        header.transaction_id = (u64::from(self.0) << Self::SHIFT | rest).into();
    }

    fn slot(self) -> Option<Slot> {
        let [_, slot] = self.0.to_be_bytes();
        Slot::new(slot.into())
    }
}

/// Attached clients; `A` is the type of their addresses.
#[derive(Debug)]
pub(super) struct Clients<A> {
    slots: [Option<Client<A>>; Slot::COUNT],
    /// Generation of each slot: number of clients so far, wrapping.
    generations: [u8; Slot::COUNT],
}

impl<A> Clients<A> {
    /// Creates a set without clients.
    pub(super) fn new() -> Self {
        Self { slots: [const { None }; Slot::COUNT], generations: [0; Slot::COUNT] }
    }

    /// Attaches a client; `None` if no slot is free.
    pub(super) fn insert(&mut self, at: NodePort, address: A) -> Option<Slot> {
        let slot = Slot::all().find(|slot| self.slots[slot.index()].is_none())?;
        let generation = &mut self.generations[slot.index()];
        *generation = generation.wrapping_add(1);
        let mark = Mark(u16::from_be_bytes([*generation, slot.get()]));
        self.slots[slot.index()] = Some(Client { at, is_sm: false, is_subscriber: false, address, mark });
        Some(slot)
    }

    /// Detaches a client, and returns it.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Client<A>> {
        self.slots[slot.index()].take()
    }

    /// Returns the client in `slot`.
    pub(super) fn get(&self, slot: Slot) -> Option<&Client<A>> {
        self.slots[slot.index()].as_ref()
    }

    /// Returns the client in `slot`.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Client<A>> {
        self.slots[slot.index()].as_mut()
    }

    /// Returns the clients in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Client<A>)> {
        Slot::all().filter_map(|slot| Some((slot, self.get(slot)?)))
    }

    /// Returns the SM at a port.
    pub(super) fn sm_at(&self, at: NodePort) -> Option<Slot> {
        self.iter().find(|(_, client)| client.at == at && client.is_sm).map(|(slot, _)| slot)
    }

    /// Marks a request of the client in `slot`, so that [`Clients::receiver`] finds the client for its response.
    pub(super) fn mark(&mut self, slot: Slot, header: &mut MadHeader) {
        if let Some(client) = self.get_mut(slot)
            && !is_response(header)
        {
            client.is_subscriber |= header.class == Class::SUBN_ADM && header.attribute_id == AttributeId::INFORM_INFO;
            client.mark.put(header);
        }
    }

    /// Returns the client at a port that receives a MAD with this header.
    ///
    /// A response is for the client that sent the request, and a report for the first client that sent an InformInfo. A
    /// request of subnet management or administration is for the SM. One of another class is for the first client that
    /// is no SM: OpenSM with ibsim's library does not survive a class that it did not register.
    pub(super) fn receiver(&self, at: NodePort, header: &MadHeader) -> Option<Slot> {
        if is_response(header) {
            let mark = Mark::of(header);
            return mark.slot().filter(|&slot| self.get(slot).is_some_and(|it| it.at == at && it.mark == mark));
        }
        let first = |is_wanted: fn(&Client<A>) -> bool| {
            self.iter().find(|(_, client)| client.at == at && is_wanted(client)).map(|(slot, _)| slot)
        };
        match (header.class, header.method) {
            (Class::SUBN_ADM, Method::REPORT) => first(|client| client.is_subscriber),
            (Class::SUBN_LID_ROUTED | Class::SUBN_DIRECTED_ROUTE | Class::SUBN_ADM, _) => first(|client| client.is_sm),
            _ => first(|client| !client.is_sm),
        }
    }
}
