//! What the server does, without sockets or a clock: control messages, MADs in and out, and requests that nobody
//! answers.

use std::time::Duration;

use iba::attr::PKeyTable;
use iba::mad::Mad;
use iba::packet::{MadPacket, Packet, SmpPacket, parse};
use iba::{Lid, PortNum, Qpn, Sl};
use umad_protocol::{ConnectData, Control, ControlKind, DATA_LEN, Datagram, MAGIC, VendorData};
use zerocopy::byteorder::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, transmute};

use super::clients::{Client, Clients};
use super::pending::{Pending, expects_answer, timed_out};
use super::slot::Slot;
use super::{Fabric, NodePort};

/// The server's state; `A` is where a client's control messages come from.
#[derive(Debug)]
pub(super) struct Core<A> {
    clients: Clients<A>,
    pending: Pending,
}

/// What a control message did to who is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// A client came; its MADs go to the socket with this id.
    Attached(Slot, u32),
    Detached(Slot),
}

/// Why a control message is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("asks for something unknown")]
    Unknown,
    #[error("is not attached")]
    NotAttached,
    #[error("wants to attach to a node that is not there")]
    NoNode,
    #[error("finds all places taken; detach another client")]
    Full,
    #[error("wants to be the subnet manager where there is one already")]
    HasSm,
    #[error("asks for a port that its node does not have")]
    NoPort,
}

impl<A: PartialEq> Core<A> {
    pub(super) fn new() -> Self {
        Self { clients: Clients::new(), pending: Pending::default() }
    }

    /// Grants or refuses what a control message from `address` asks. The answer is in its place.
    ///
    /// # Errors
    ///
    /// Says why it is refused; the answer says so too, without a reason.
    pub(super) fn control(
        &mut self,
        message: &mut Control,
        address: A,
        fabric: &mut impl Fabric,
    ) -> Result<Change, Refusal> {
        let result = self.grant(message, address, fabric);
        if result.is_err() {
            message.kind = ControlKind::ERROR;
        }
        result
    }

    fn grant(&mut self, message: &mut Control, address: A, fabric: &mut impl Fabric) -> Result<Change, Refusal> {
        if message.magic.get() != MAGIC {
            return Err(Refusal::Unknown);
        }
        if message.kind == ControlKind::CONNECT {
            return self.connect(message, address, fabric);
        }
        let slot = Slot::new(message.client.get()).ok_or(Refusal::NotAttached)?;
        let client = self.clients.get(slot).filter(|client| client.address == address).ok_or(Refusal::NotAttached)?;
        let at = client.at;
        match message.kind {
            ControlKind::DISCONNECT => {
                self.detach(slot, fabric);
                return Ok(Change::Detached(slot));
            }
            ControlKind::SET_ISSM => self.set_is_sm(slot, read::<[u8; 4]>(message) != [0; 4], fabric)?,
            ControlKind::SET_PORT => self.set_port(slot, PortNum::new(message.data[0]), fabric)?,
            kind => answer(message, kind, at, fabric)?,
        }
        Ok(Change::Nothing)
    }

    fn connect(&mut self, message: &mut Control, address: A, fabric: &mut impl Fabric) -> Result<Change, Refusal> {
        let mut data: ConnectData = read(message);
        let name = data.node_id().ok_or(Refusal::NoNode)?;
        let at = fabric.attach(Some(name).filter(|name| !name.is_empty())).ok_or(Refusal::NoNode)?;
        let slot = self.clients.insert(at, address).ok_or(Refusal::Full)?;
        if data.is_sm.get() != 0
            && let Err(refusal) = self.set_is_sm(slot, true, fabric)
        {
            self.clients.remove(slot);
            return Err(refusal);
        }
        let id = data.id.get();
        data.id = U32::new(slot.number());
        data.set_node_id(fabric.node_id(at));
        write(message, &data);
        Ok(Change::Attached(slot, id))
    }

    /// Moves a client to another port of its adapter; a switch is attached to at its port 0 alone.
    fn set_port(&mut self, slot: Slot, port: PortNum, fabric: &mut impl Fabric) -> Result<(), Refusal> {
        let Client { at, is_sm, .. } = *self.clients.get(slot).ok_or(Refusal::NotAttached)?;
        let is_adapters = at.port != PortNum::MANAGEMENT && port != PortNum::MANAGEMENT;
        fabric.port_info(at, port).filter(|_| is_adapters || port == at.port).ok_or(Refusal::NoPort)?;
        if is_sm && self.clients.sm_at(NodePort { port, ..at }).is_some_and(|sm| sm != slot) {
            return Err(Refusal::HasSm);
        }
        self.set_is_sm(slot, false, fabric)?;
        if let Some(client) = self.clients.get_mut(slot) {
            client.at.port = port;
        }
        self.set_is_sm(slot, is_sm, fabric)
    }

    fn set_is_sm(&mut self, slot: Slot, is_sm: bool, fabric: &mut impl Fabric) -> Result<(), Refusal> {
        let at = self.clients.get(slot).ok_or(Refusal::NotAttached)?.at;
        if is_sm && self.clients.sm_at(at).is_some_and(|sm| sm != slot) {
            return Err(Refusal::HasSm);
        }
        if let Some(client) = self.clients.get_mut(slot)
            && std::mem::replace(&mut client.is_sm, is_sm) != is_sm
        {
            fabric.set_is_sm(at, is_sm);
        }
        Ok(())
    }

    /// The clients at a port.
    pub(super) fn at(&self, at: NodePort) -> Vec<Slot> {
        self.clients.iter().filter(|(_, client)| client.at == at).map(|(slot, _)| slot).collect()
    }

    /// Detaches a client that says so or is gone, with all that it waits for.
    pub(super) fn detach(&mut self, slot: Slot, fabric: &mut impl Fabric) {
        if let Some(client) = self.clients.remove(slot) {
            self.pending.forget(slot);
            if client.is_sm {
                fabric.set_is_sm(client.at, false);
            }
        }
    }

    /// Takes a MAD that the client in `slot` sends; gives it back where it cannot go anywhere.
    pub(super) fn submit(
        &mut self,
        now: Duration,
        slot: Slot,
        datagram: &Datagram,
        fabric: &mut impl Fabric,
    ) -> Option<Datagram> {
        let at = self.clients.get(slot)?.at;
        let expects_answer = expects_answer(&datagram.mad);
        let (Ok(source), Ok(target)) = (special_qp(datagram.sqp.get()), special_qp(datagram.dqp.get())) else {
            return expects_answer.then(|| timed_out(*datagram));
        };
        if expects_answer {
            self.pending.insert(now, slot, datagram);
        }
        let mut mad: Mad = transmute!(datagram.mad);
        self.clients.mark(slot, &mut mad.header);
        let slid = match Lid::new(datagram.slid.get()) {
            Lid::PERMISSIVE => Lid::PERMISSIVE,
            _ => fabric.port_info(at, at.port).map_or(Lid::UNASSIGNED, |port| port.lid),
        };
        let dlid = Lid::new(datagram.dlid.get());
        if target == Qpn::SMI {
            let mut packet = SmpPacket::new(slid, dlid, Sl::default(), transmute!(mad));
            packet.header.deth.src_qp = source;
            fabric.submit(at, packet.as_mut_bytes());
        } else {
            let mut packet = MadPacket::new(slid, dlid, Sl::default(), mad);
            packet.header.deth.src_qp = source;
            fabric.submit(at, packet.as_mut_bytes());
        }
        None
    }

    /// The client at a port that a packet is for, and its MAD as the client gets it.
    pub(super) fn deliver(&mut self, at: NodePort, packet: &[u8]) -> Option<(Slot, Datagram)> {
        let Ok(Packet::Transport(packet)) = parse(packet) else { return None };
        let deth = packet.deth?;
        let mad = Mad::read_from_bytes(packet.payload).ok()?;
        special_qp(packet.bth.dest_qp.get()).ok()?;
        let slot = self.clients.receiver(at, &mad.header)?;
        self.pending.answered(slot, &mad.header);
        let (slid, dlid) = (packet.lrh.slid.get(), packet.lrh.dlid.get());
        Some((slot, Datagram::new(slid, dlid, deth.src_qp.get(), packet.bth.dest_qp.get(), transmute!(mad))))
    }

    /// The next request that nobody answered in time, as it goes back to its client.
    pub(super) fn expire(&mut self, now: Duration) -> Option<(Slot, Datagram)> {
        self.pending.pop(now)
    }

    /// When [`Core::expire`] may have something again.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.pending.deadline()
    }
}

/// Answers a question about the port that a client is attached to.
fn answer(message: &mut Control, kind: ControlKind, at: NodePort, fabric: &impl Fabric) -> Result<(), Refusal> {
    let port = |number| fabric.port_info(at, number).ok_or(Refusal::NoPort);
    // What is asked of a port is asked of the one in the first byte, if that is not 0.
    let asked = if message.data[0] == 0 { at.port } else { PortNum::new(message.data[0]) };
    match kind {
        ControlKind::GET_PORT => {
            let port = port(at.port)?;
            let [low, high] = port.lid.get().to_ne_bytes();
            write(message, &[low, high, port.port_state().get()]);
        }
        ControlKind::GET_VENDOR => {
            let node = fabric.node_info(at);
            let vendor = VendorData {
                vendor: node.vendor_id.get().into(),
                device: u32::from(node.device_id.get()).into(),
                revision: node.revision.get().into(),
                padding: [0; 4],
                firmware: 1.into(),
            };
            write(message, &vendor);
        }
        ControlKind::GET_GID => {
            let (prefix, guid) = (port(at.port)?.gid_prefix, fabric.node_info(at).port_guid);
            write(message, &iba::Gid { prefix, guid });
        }
        ControlKind::GET_GUID => write(message, &fabric.node_info(at).port_guid),
        ControlKind::GET_NODEINFO => write(message, &fabric.node_info(at)),
        ControlKind::GET_PORTINFO => {
            write(message, &port(asked)?);
        }
        ControlKind::GET_PKEYS => write::<PKeyTable>(message, &fabric.p_keys(NodePort { port: asked, ..at })),
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

/// The queue pair of this number, if it is one of the two that MADs go through.
fn special_qp(number: u32) -> Result<Qpn, u32> {
    if number <= 1 { Ok(Qpn::new(number)) } else { Err(number) }
}

fn read<T: FromBytes>(message: &Control) -> T {
    const { assert!(size_of::<T>() <= DATA_LEN) }
    match T::read_from_prefix(&message.data) {
        Ok((data, _)) => data,
        Err(_) => unreachable!(), // the assertion above
    }
}

fn write<T: IntoBytes + Immutable>(message: &mut Control, data: &T) {
    const { assert!(size_of::<T>() <= DATA_LEN) }
    message.data = [0; DATA_LEN];
    message.data[..size_of::<T>()].copy_from_slice(data.as_bytes());
}
