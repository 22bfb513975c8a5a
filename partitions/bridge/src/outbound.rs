//! From packets to work requests.

use iba::mad::Mad;
use iba::packet::{Packet, parse};
use iba::{PKey, Qpn};
use lhca_contract::{QueuePairKind, SendEntry, WorkFlags};
use zerocopy::FromBytes;

/// A datagram that a program sends.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    /// By which queue pair it goes.
    pub kind: QueuePairKind,
    /// Where to; what is sent, and the P_Key's index, are for the caller to fill in.
    pub address: SendEntry,
    /// Its P_Key.
    pub p_key: PKey,
    /// The datagram.
    pub mad: &'a Mad,
}

/// The management datagram in a packet; `None` if it is another packet. Only queue pair 0 sends to queue pair 0.
#[must_use]
pub fn outbound(packet: &[u8]) -> Option<Outbound<'_>> {
    let Ok(Packet::Transport(headers)) = parse(packet) else { return None };
    let deth = headers.deth.as_deref()?;
    let mad = Mad::ref_from_bytes(headers.payload).ok()?;
    let kind = if headers.bth.dest_qp == Qpn::SMI { QueuePairKind::SMI } else { QueuePairKind::GSI };
    let mut address = SendEntry {
        sl: headers.lrh.sl(),
        dlid: headers.lrh.dlid,
        remote_qp: headers.bth.dest_qp,
        q_key: deth.q_key,
        ..SendEntry::default()
    };
    if let Some(grh) = headers.grh.as_deref() {
        // In the version's place stands the index of the source GUID: the first.
        let word = u32::from(grh.traffic_class()) << 20 | grh.flow_label();
        (address.grh_word, address.hop_limit) = (word.to_be_bytes(), grh.hop_limit);
        (address.destination_gid, address.flags) = (grh.dgid, WorkFlags::GRH);
    }
    Some(Outbound { kind, address, p_key: headers.bth.p_key, mad })
}
