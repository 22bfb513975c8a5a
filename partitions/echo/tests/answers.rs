//! Responses of echo, compared with those that infiniband-diags' tools expect.
#![allow(clippy::unwrap_used)] // what goes wrong fails the test

use echo_image::{
    DATA, Identity, OPENIB, OUI, PING, STATUS_HOST, STATUS_PING, STATUS_PROCESSORS, SYSTEM_STATUS, answer,
};
use iba::TransactionId;
use iba::mad::{AttributeId, Class, Mad, Method, Status};
use zerocopy::FromZeros;

const IDENTITY: Identity<'_> = Identity { host: "portico-0-lhca1", model: "AMD EPYC", khz: 2_595_007 };

fn question(class: Class, attribute: AttributeId) -> Mad {
    let mut mad = Mad::new_zeroed();
    mad.header.class = class;
    mad.header.method = Method::GET;
    mad.header.attribute_id = attribute;
    mad.header.transaction_id = TransactionId::new(0x1234_5678_9abc_def0);
    mad.data[OUI].copy_from_slice(&OPENIB);
    mad.data[DATA..].fill(0xee);
    mad
}

fn text(mad: &Mad) -> &str {
    std::ffi::CStr::from_bytes_until_nul(&mad.data[DATA..]).unwrap().to_str().unwrap()
}

#[test]
fn each_question_has_its_answer() {
    let questions = [
        (PING, AttributeId::new(0), "portico-0-lhca1"),
        (SYSTEM_STATUS, STATUS_HOST, "portico-0-lhca1"),
        (SYSTEM_STATUS, STATUS_PROCESSORS, "cpu 0: model AMD EPYC MHZ 2595.007\n"),
    ];
    for (class, attribute, expected) in questions {
        let asked = question(class, attribute);
        let mut mad = asked;
        assert!(answer(&mut mad, &IDENTITY));
        assert_eq!(text(&mad), expected);
        assert!(mad.data[DATA + expected.len()..].iter().all(|&byte| byte == 0), "nothing of the question is left");
        assert_eq!((mad.header.method, mad.header.status), (Method::GET_RESP, Status::OK));
        assert_eq!(mad.header.transaction_id, asked.header.transaction_id);
        assert_eq!(mad.data[..DATA], asked.data[..DATA]);
    }
    let mut ping = question(SYSTEM_STATUS, STATUS_PING);
    assert!(answer(&mut ping, &IDENTITY));
    assert_eq!((ping.header.method, ping.data), (Method::GET_RESP, question(SYSTEM_STATUS, STATUS_PING).data));
}

#[test]
fn what_is_no_question_of_ours_is_left_alone() {
    let wrong: [fn(&mut Mad); 4] = [
        |mad| mad.header.class = Class::new(0x34),
        |mad| mad.header.method = Method::GET_RESP,
        |mad| mad.header.attribute_id = AttributeId::new(0x13),
        |mad| mad.data[OUI.start] = 1,
    ];
    for spoil in wrong {
        let mut mad = question(SYSTEM_STATUS, STATUS_HOST);
        spoil(&mut mad);
        let before = mad;
        assert!(!answer(&mut mad, &IDENTITY));
        assert_eq!(mad, before);
    }
}

#[test]
fn text_without_end_is_cut() {
    let name = "n".repeat(300);
    let mut mad = question(PING, AttributeId::new(0));
    assert!(answer(&mut mad, &Identity { host: &name, ..IDENTITY }));
    assert_eq!(text(&mad).len(), 256 - 24 - DATA - 1);
}
