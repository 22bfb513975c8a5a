//! What is answered: OpenIB's vendor class for pings, as infiniband-diags' `ibping` speaks it.

use iba::mad::{Class, Mad, Method, Status};

/// The class: the third of the vendors' second range.
const PING: Class = Class::new(0x32);

/// Where the class's own data begins: behind the RMPP header, a reserved byte, and the vendor's id of 3 bytes (13.4.2).
const OUI: core::ops::Range<usize> = 13..16;
const DATA: usize = 16;
/// OpenIB's.
const OPENIB: [u8; 3] = [0x00, 0x14, 0x05];

/// Makes a ping its answer, which says who answers; `false` if it is no ping.
pub(crate) fn answer(mad: &mut Mad, name: &[u8; 64]) -> bool {
    let header = &mut mad.header;
    if header.class != PING || header.method != Method::GET || mad.data[OUI] != OPENIB {
        return false;
    }
    header.method = Method::GET_RESP;
    header.status = Status::OK;
    mad.data[DATA..DATA + name.len()].copy_from_slice(name);
    mad.data[DATA + name.len()] = 0;
    true
}
