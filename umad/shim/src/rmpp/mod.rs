//! Reliable multi-packet transactions (IBA vol. 1, 13.6): one message as many MADs, acknowledged window by window.
//!
//! A [`Sender`] cuts a message into segments and returns those that may go; a [`Receiver`] joins segments and decides
//! when to acknowledge. Addresses, sockets and timeouts are the caller's.

mod receiver;
mod sender;

use iba::mad::{Class, Method};
use iba::rmpp::{RmppHeader, RmppMad, RmppStatus, RmppType};

pub(crate) use receiver::{Receiver, Step};
pub(crate) use sender::{Outcome, Sender};

/// Bytes before the class's own header: common and RMPP header.
pub(crate) const RMPP_OFFSET: usize = size_of::<RmppMad>() - PAYLOAD;

/// Payload length of a full segment: all bytes after the RMPP header.
const PAYLOAD: usize = 220;

/// Returns the bytes of headers that each segment of a class repeats; `None` for a class without RMPP (IBA vol. 1,
/// 13.6.1).
pub(crate) fn header_len(class: Class) -> Option<usize> {
    const BOOT_MANAGEMENT: Class = Class::new(0x12);
    match class {
        Class::SUBN_ADM => Some(56),
        Class::DEV_MGT | BOOT_MANAGEMENT => Some(64),
        _ if is_vendor_with_oui(class) => Some(40),
        _ => None,
    }
}

/// Returns `true` for a vendor class whose MADs carry an OUI (IBA vol. 1, 16.5).
pub(crate) fn is_vendor_with_oui(class: Class) -> bool {
    (0x30..=0x4f).contains(&class.get())
}

/// Returns the MAD that answers `segment`: an ACK, or an ABORT with `status`. It repeats `headers` bytes.
pub(crate) fn answer(
    segment: &RmppMad,
    headers: usize,
    kind: RmppType,
    status: RmppStatus,
    last: u32,
    window: u32,
) -> RmppMad {
    let mut answer = *segment;
    answer.header.method = Method::new(segment.header.method.get() ^ 0x80);
    answer.rmpp.version = RmppHeader::VERSION;
    answer.rmpp.kind = kind;
    answer.rmpp.status = status;
    answer.rmpp.set_active(true);
    answer.rmpp.set_first(false);
    answer.rmpp.set_last(false);
    answer.rmpp.segment.set(last);
    answer.rmpp.length_or_window.set(window);
    answer.payload[headers - RMPP_OFFSET..].fill(0);
    answer
}
