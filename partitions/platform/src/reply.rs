//! Address of a datagram's sender.

use iba::QKey;
use iba::grh::Grh;
use lhca_contract::{Completion, CompletionFlags, SendEntry, WorkFlags};

/// Room before each payload that is received, for a global route header.
pub const GRH: usize = size_of::<Grh>();

/// The address that leads back to where a datagram came from (IBA vol. 1, 13.5.4), by the way that it came: `done` is
/// its completion, `head` what stands before its payload. `q_key` is the sender's, which a datagram does not tell.
///
/// Immediate data that came with it goes back as well. The payload, and the work request's number, are for the
/// caller to fill in.
#[must_use]
pub fn reply(done: &Completion, head: &[u8; GRH], q_key: QKey) -> SendEntry {
    let mut entry = SendEntry {
        segments: 1,
        sl: done.sl,
        source_path: done.destination_path,
        dlid: done.slid,
        p_key_index: done.p_key_index,
        remote_qp: done.source_qp,
        q_key,
        ..SendEntry::default()
    };
    if done.flags.contains(CompletionFlags::IMMEDIATE) {
        entry.flags |= WorkFlags::IMMEDIATE;
        entry.immediate = done.immediate;
    }
    if done.flags.contains(CompletionFlags::GRH) {
        let grh: Grh = zerocopy::transmute!(*head);
        let word = u32::from(grh.traffic_class()) << 20 | grh.flow_label();
        // In the version's place stands the index of our GUID: the first, by which we are called.
        entry.grh_word = word.to_be_bytes();
        entry.hop_limit = u8::MAX;
        entry.destination_gid = grh.sgid;
        entry.flags |= WorkFlags::GRH;
    }
    entry
}

#[cfg(test)]
mod tests {
    use iba::{Gid, Guid, Lid, Qpn, Sl};
    use zerocopy::IntoBytes;

    use super::*;

    fn done(flags: CompletionFlags) -> Completion {
        Completion {
            flags,
            sl: Sl::new(3),
            slid: Lid::new(17),
            p_key_index: 2,
            source_qp: Qpn::new(0x101),
            destination_path: 1,
            ..Completion::default()
        }
    }

    #[test]
    fn a_reply_goes_the_way_back() {
        let entry = reply(&done(CompletionFlags::empty()), &[0xff; GRH], QKey::new(5));
        assert_eq!((entry.dlid, entry.remote_qp, entry.q_key), (Lid::new(17), Qpn::new(0x101), QKey::new(5)));
        assert_eq!((entry.sl, entry.source_path, entry.p_key_index), (Sl::new(3), 1, 2));
        assert_eq!(entry.flags, WorkFlags::empty(), "and has no header that the request had not");
    }

    #[test]
    fn a_reply_to_a_global_route_has_one() {
        let mut grh = Grh::default();
        grh.sgid = Gid { guid: Guid::new(9), ..Gid::default() };
        grh.set_ip_version(Grh::IP_VERSION);
        grh.set_traffic_class(0x5a);
        grh.set_flow_label(0xf_1234);
        let mut head = [0; GRH];
        head.copy_from_slice(grh.as_bytes());
        let entry = reply(&done(CompletionFlags::GRH), &head, QKey::GSI);
        assert_eq!((entry.flags, entry.destination_gid), (WorkFlags::GRH, grh.sgid));
        assert_eq!(entry.grh_word, [0x05, 0xaf, 0x12, 0x34]);
    }
}
