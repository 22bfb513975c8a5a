//! The server without sockets and clock: control messages, MADs in both directions, and requests without a response.

use std::time::Duration;

use iba::attr::PKeyTable;
use iba::mad::Mad;
use iba::packet::{MadPacket, Packet, SmpPacket, parse};
use iba::{Lid, PortNum, Qpn, Sl};
use umad_protocol::{ConnectData, Control, ControlKind, DATA_LEN, Datagram, MAGIC, VendorData};
use zerocopy::byteorder::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, transmute};

use super::clients::Clients;
use super::pending::{Pending, expects_answer, timed_out};
use super::slot::Slot;
use super::{Fabric, NodePort};

/// State of the server; `A` is the address from which a client's control messages come.
#[derive(Debug)]
pub(super) struct Core<A> {
    clients: Clients<A>,
    pending: Pending,
}

/// Change to the set of clients by a control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// A client attached. Its MADs go to the socket with this id.
    Attached(Slot, u32),
    Detached(Slot),
}

/// Reason why the server refuses a control message; completes "cannot serve client ...: ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the message is unknown")]
    Unknown,
    #[error("it is not attached; attach first")]
    NotAttached,
    #[error("cannot attach: the node is missing; check SIM_HOST")]
    NoNode,
    #[error("cannot attach: no free client slot; detach another client")]
    Full,
    #[error("cannot become the SM: the port has one; end that one or attach elsewhere")]
    HasSm,
    #[error("the node lacks the port")]
    NoPort,
}

impl<A: PartialEq> Core<A> {
    /// Creates the state without clients.
    pub(super) fn new() -> Self {
        Self { clients: Clients::new(), pending: Pending::default() }
    }

    /// Serves a control message from `address`, and makes it the answer.
    ///
    /// # Errors
    ///
    /// The reason of a refusal. The answer has kind [`ControlKind::ERROR`].
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
        let client =
            self.clients.get(slot).filter(|client| client.has_address(&address)).ok_or(Refusal::NotAttached)?;
        let at = client.at();
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

    /// Moves a client to another port of its channel adapter. A switch has port 0 alone to attach at.
    fn set_port(&mut self, slot: Slot, port: PortNum, fabric: &mut impl Fabric) -> Result<(), Refusal> {
        let client = self.clients.get(slot).ok_or(Refusal::NotAttached)?;
        let (at, is_sm) = (client.at(), client.is_sm());
        let is_adapters = at.port != PortNum::MANAGEMENT && port != PortNum::MANAGEMENT;
        fabric.port_info(at, port).filter(|_| is_adapters || port == at.port).ok_or(Refusal::NoPort)?;
        if is_sm && self.clients.sm_at(NodePort { port, ..at }).is_some_and(|sm| sm != slot) {
            return Err(Refusal::HasSm);
        }
        self.set_is_sm(slot, false, fabric)?;
        if let Some(client) = self.clients.get_mut(slot) {
            client.move_to(port);
        }
        self.set_is_sm(slot, is_sm, fabric)
    }

    fn set_is_sm(&mut self, slot: Slot, is_sm: bool, fabric: &mut impl Fabric) -> Result<(), Refusal> {
        let at = self.clients.get(slot).ok_or(Refusal::NotAttached)?.at();
        if is_sm && self.clients.sm_at(at).is_some_and(|sm| sm != slot) {
            return Err(Refusal::HasSm);
        }
        if let Some(client) = self.clients.get_mut(slot)
            && client.set_is_sm(is_sm)
        {
            fabric.set_is_sm(at, is_sm);
        }
        Ok(())
    }

    /// Returns the clients at a port.
    pub(super) fn at(&self, at: NodePort) -> Vec<Slot> {
        self.clients.iter().filter(|(_, client)| client.at() == at).map(|(slot, _)| slot).collect()
    }

    /// Detaches a client, and removes its pending requests.
    pub(super) fn detach(&mut self, slot: Slot, fabric: &mut impl Fabric) {
        if let Some(client) = self.clients.remove(slot) {
            self.pending.forget(slot);
            if client.is_sm() {
                fabric.set_is_sm(client.at(), false);
            }
        }
    }

    /// Takes a MAD of the client in `slot`. Returns it if it has no destination and its sender waits for a response.
    pub(super) fn submit(
        &mut self,
        now: Duration,
        slot: Slot,
        datagram: &Datagram,
        fabric: &mut impl Fabric,
    ) -> Option<Datagram> {
        let at = self.clients.get(slot)?.at();
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

    /// Returns the client at a port that receives a packet, and the packet's MAD in the form of the protocol.
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

    /// Returns the next request without a response in time, as it goes back to its client.
    pub(super) fn expire(&mut self, now: Duration) -> Option<(Slot, Datagram)> {
        self.pending.pop(now)
    }

    /// Returns the time of the next call of [`Core::expire`] that may return a request.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.pending.deadline()
    }
}

/// Answers a query about the port of a client.
fn answer(message: &mut Control, kind: ControlKind, at: NodePort, fabric: &impl Fabric) -> Result<(), Refusal> {
    let port = |number| fabric.port_info(at, number).ok_or(Refusal::NoPort);
    // The first byte of the data selects the port; 0 selects that of the client.
    let selected = if message.data[0] == 0 { at.port } else { PortNum::new(message.data[0]) };
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
            write(message, &port(selected)?);
        }
        ControlKind::GET_PKEYS => write::<PKeyTable>(message, &fabric.p_keys(NodePort { port: selected, ..at })),
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

/// Returns queue pair 0 or 1.
///
/// # Errors
/// The number of any other queue pair: no MADs go there.
fn special_qp(number: u32) -> Result<Qpn, u32> {
    if number <= 1 { Ok(Qpn::new(number)) } else { Err(number) }
}

/// Returns the first bytes of the data as `T`.
fn read<T: FromBytes>(message: &Control) -> T {
    const { assert!(size_of::<T>() <= DATA_LEN) }
    match T::read_from_prefix(&message.data) {
        Ok((data, _)) => data,
        Err(_) => unreachable!(), // the assertion above
    }
}

/// Replaces the data.
fn write<T: IntoBytes + Immutable>(message: &mut Control, data: &T) {
    const { assert!(size_of::<T>() <= DATA_LEN) }
    message.data = [0; DATA_LEN];
    message.data[..size_of::<T>()].copy_from_slice(data.as_bytes());
}
