//! From what was received to packets.

use iba::grh::Grh;
use iba::lrh::NextHeader;
use iba::mad::Mad;
use iba::packet::UdHeader;
use iba::{Lid, PKey, QKey, Qpn, Vl};
use lhca_contract::{Completion, CompletionFlags, QueuePairKind};
use platform::GRH;
use zerocopy::IntoBytes;

/// The longest packet with a management datagram.
pub const MAX_PACKET: usize = size_of::<UdHeader>() + GRH + size_of::<Mad>();

/// Where datagrams arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The queue pair.
    pub kind: QueuePairKind,
    /// The port's base LID.
    pub lid: Lid,
    /// The P_Key with which the datagram came.
    pub p_key: PKey,
}

/// Makes a packet of the datagram `mad` that arrived at `home`: `done` is its completion, `head` what stands before it.
/// Gives the packet's length.
pub fn packet(home: &Home, done: &Completion, head: &[u8; GRH], mad: &[u8], packet: &mut [u8; MAX_PACKET]) -> usize {
    let is_smi = home.kind == QueuePairKind::SMI;
    let mad = &mad[..mad.len().min(size_of::<Mad>())];
    let grh = if done.flags.contains(CompletionFlags::GRH) { GRH } else { 0 };
    let dlid = match done.slid {
        Lid::PERMISSIVE => Lid::PERMISSIVE, // the end of a directed route
        _ => Lid::new(home.lid.get() | u16::from(done.destination_path)),
    };
    let UdHeader { mut lrh, mut bth, mut deth } = UdHeader::new(done.slid, dlid, done.sl, grh + mad.len());
    bth.p_key = home.p_key;
    deth.src_qp = done.source_qp;
    if is_smi {
        lrh.set_vl(Vl::MANAGEMENT);
    } else {
        (bth.dest_qp, deth.q_key) = (Qpn::GSI, QKey::GSI);
    }
    if grh > 0 {
        lrh.set_next_header(NextHeader::Grh);
    }
    let mut length = 0;
    for part in [lrh.as_bytes(), &head[..grh], bth.as_bytes(), deth.as_bytes(), mad] {
        packet[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    }
    length
}

const _: () = assert!(size_of::<Grh>() == GRH);
