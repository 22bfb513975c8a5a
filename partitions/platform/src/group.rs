//! The multicast group in which partitions, and hosts outside, find each other, and how a port is let into it.

use iba::attr::PortState;
use iba::mad::{Class, MadHeader, Method, Status};
use iba::sa::{McMemberRecord, SaMad};
use iba::{Gid, GidPrefix, Guid, Lid, PKey, QKey, TransactionId};
use lhca_contract::PortAttributes;
use zerocopy::{FromBytes, FromZeros};

/// The group.
pub const GROUP: Gid = Gid { prefix: GidPrefix::new(0xff12_1ee7_0000_0000), guid: Guid::new(0x0000_0050_6f72_7431) };
/// The Q_Key of its datagrams, and of those between its members.
pub const Q_KEY: QKey = QKey::new(0x0001_1ee7);

/// The request to [`join`], for the subnet administrator at `port.sm_lid`. `None` while the port is not Active, or
/// has no SM.
#[must_use]
pub fn request(port: &PortAttributes, transaction: TransactionId) -> Option<SaMad> {
    let ready = PortState::new(port.state) == PortState::ACTIVE && port.sm_lid.is_unicast();
    ready.then(|| join(Gid { prefix: port.gid_prefix, guid: port.guid }, transaction))
}

/// The request to let `port` into the group as a full member, and to create the group where there is none (IBA vol. 1,
/// 15.2.5.17).
#[must_use]
pub fn join(port: Gid, transaction: TransactionId) -> SaMad {
    let mut record = McMemberRecord::default();
    (record.mgid, record.q_key, record.p_key) = (GROUP, Q_KEY, PKey::DEFAULT);
    record.port_gid = port;
    record.set_join_state(McMemberRecord::FULL_MEMBER);
    let mut mad = SaMad::new_zeroed();
    mad.header.base_version = MadHeader::BASE_VERSION;
    (mad.header.class, mad.header.class_version) = (Class::SUBN_ADM, SaMad::CLASS_VERSION);
    (mad.header.method, mad.header.transaction_id) = (Method::SET, transaction);
    mad.header.attribute_id = McMemberRecord::ID;
    mad.component_mask = McMemberRecord::TO_CREATE.into();
    mad.set_record(&record);
    mad
}

/// The group's LID, if `payload` is the administrator's answer that the port is in the group now.
#[must_use]
pub fn joined(payload: &[u8]) -> Option<Lid> {
    let mad = SaMad::read_from_bytes(payload).ok()?;
    let SaMad { header, .. } = &mad;
    let is_answer = (header.class, header.method) == (Class::SUBN_ADM, Method::GET_RESP);
    let record: &McMemberRecord = mad.record();
    let is_in = is_answer && header.status == Status::OK && header.attribute_id == McMemberRecord::ID;
    (is_in && record.mgid == GROUP).then_some(record.mlid)
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    fn port(state: PortState, sm_lid: u16) -> PortAttributes {
        PortAttributes { state: state.get(), sm_lid: Lid::new(sm_lid), ..PortAttributes::new_zeroed() }
    }

    #[test]
    fn a_port_asks_once_it_can_and_learns_the_groups_lid() {
        let asked = |state, sm_lid| request(&port(state, sm_lid), TransactionId::new(7));
        assert!(asked(PortState::ARMED, 1).is_none() && asked(PortState::ACTIVE, 0).is_none());
        let mut mad = asked(PortState::ACTIVE, 1).unwrap();
        assert_eq!(joined(mad.as_bytes()), None, "that is the request");
        mad.header.method = Method::GET_RESP;
        let mut record = *mad.record::<McMemberRecord>();
        record.mlid = Lid::new(0xc003);
        mad.set_record(&record);
        assert_eq!(joined(mad.as_bytes()), Some(Lid::new(0xc003)));
        mad.header.status = Status::new(0x0100);
        assert_eq!(joined(mad.as_bytes()), None, "refused");
        assert_eq!(joined(&mad.as_bytes()[1..]), None);
    }
}
