//! Questions to the administration, and its answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use iba::TransactionId;
use iba::mad::{Class, MadHeader, Method, Status};
use iba::rmpp::{RmppHeader, RmppType};
use iba::sa::{Record, SaMad};
use zerocopy::{FromZeros, transmute};

use super::World;

/// A request for records.
pub(crate) fn request<R: Record>(method: Method, record: &R, mask: u64) -> SaMad {
    let mut mad = SaMad::new_zeroed();
    (mad.header.base_version, mad.header.class) = (MadHeader::BASE_VERSION, Class::SUBN_ADM);
    (mad.header.class_version, mad.header.method) = (SaMad::CLASS_VERSION, method);
    (mad.header.attribute_id, mad.header.transaction_id) = (R::ID, next_id());
    mad.component_mask = mask.into();
    mad.set_record(record);
    mad
}

fn next_id() -> TransactionId {
    static LAST: AtomicU64 = AtomicU64::new(0);
    TransactionId::new(LAST.fetch_add(1, Ordering::Relaxed))
}

/// The next answer to `request` that comes to `member`; the request is repeated until there is one.
pub(crate) fn answer(world: &mut World, member: usize, request: &SaMad) -> SaMad {
    let id = request.header.transaction_id;
    let find =
        |world: &World| world.others.iter().position(|(to, mad)| *to == member && mad.header.transaction_id == id);
    for _ in 0..10 {
        if world.wait_for(5_000, |world| find(world).is_some()) {
            let index = find(world).unwrap();
            return transmute!(world.others.remove(index).1);
        }
        world.ask(member, request);
    }
    panic!("no answer");
}

/// Asks, and gives status and record of the answer.
pub(crate) fn get<R: Record>(
    world: &mut World,
    member: usize,
    method: Method,
    record: &R,
    mask: u64,
) -> Result<R, Status> {
    world.others.clear();
    let request = request(method, record, mask);
    world.ask(member, &request);
    let mad = answer(world, member, &request);
    assert_eq!(mad.header.attribute_id, R::ID);
    if mad.header.status == Status::OK { Ok(R::read_from_prefix(&mad.data).unwrap().0) } else { Err(mad.header.status) }
}

/// Asks for a table, and takes its segments as they come, some of them more than once and in the wrong order, until all
/// are there.
pub(crate) fn table<R: Record>(world: &mut World, member: usize, record: &R, mask: u64) -> Vec<R> {
    world.others.clear();
    let request = request(Method::GET_TABLE, record, mask);
    world.ask(member, &request);
    let mut segments: BTreeMap<u32, SaMad> = BTreeMap::new();
    let last = loop {
        let mad = answer(world, member, &request);
        assert_eq!((mad.header.method, mad.header.status), (Method::GET_TABLE_RESP, Status::OK));
        assert_eq!((mad.rmpp.kind, mad.rmpp.version), (RmppType::DATA, RmppHeader::VERSION));
        assert_eq!(mad.rmpp.is_first(), mad.rmpp.segment.get() == 1);
        segments.insert(mad.rmpp.segment.get(), mad);
        let whole = (1..).take_while(|segment| segments.contains_key(segment)).last().unwrap_or(0);
        let mut ack = mad;
        ack.rmpp.kind = RmppType::ACK;
        (ack.rmpp.segment, ack.rmpp.length_or_window) = (whole.into(), (whole + 5).into());
        world.ask(member, &ack);
        if segments.get(&whole).is_some_and(|mad| mad.rmpp.is_last()) {
            break whole;
        }
    };
    let payload = segments[&last].rmpp.length_or_window.get() as usize - 20;
    let first = segments[&1].rmpp.length_or_window.get() as usize;
    let whole = payload + 200 * (last as usize - 1);
    assert_eq!(first, whole + 20 * last as usize, "the first segment says how long all of it is");
    let bytes: Vec<u8> = segments.values().flat_map(|mad| mad.data).take(whole).collect();
    let step = usize::from(segments[&1].attribute_offset.get()) * 8;
    if step == 0 {
        assert!(bytes.is_empty());
        return Vec::new();
    }
    bytes.chunks(step).map(|record| R::read_from_prefix(record).unwrap().0).collect()
}
