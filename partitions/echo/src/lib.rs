//! Responses of the image `echo`: OpenIB's vendor classes, as infiniband-diags' `ibping` and `ibsysstat` use them.
//!
//! | class | attribute | answer |
//! |---|---|---|
//! | 0x32, ping | any | who answers |
//! | 0x33, system status | 0x10, ping | nothing but that it answers |
//! | | 0x11, host | who answers |
//! | | 0x12, processors | a line of text for each: model and MHz |
//!
//! Both are of the vendors' second range (IBA vol. 1, 16.5): the header of every management datagram (MAD), an RMPP
//! header that is not used here, a reserved byte and the vendor's id of three bytes. Text ends with a zero byte.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt::{self, Write};

use iba::mad::{AttributeId, Class, Mad, Method, Status};

/// The class that `ibping` speaks.
pub const PING: Class = Class::new(0x32);
/// The class that `ibsysstat` speaks.
pub const SYSTEM_STATUS: Class = Class::new(0x33);

/// OpenIB's vendor id.
pub const OPENIB: [u8; 3] = [0x00, 0x14, 0x05];
/// Where the vendor's id stands behind the MAD's common header.
pub const OUI: core::ops::Range<usize> = 13..16;
/// Where the class's own data begins behind the MAD's common header.
pub const DATA: usize = 16;

/// System status: whether it answers.
pub const STATUS_PING: AttributeId = AttributeId::new(0x10);
/// System status: the host's name.
pub const STATUS_HOST: AttributeId = AttributeId::new(0x11);
/// System status: its processors.
pub const STATUS_PROCESSORS: AttributeId = AttributeId::new(0x12);

/// Identity in the responses.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The host's name.
    pub host: &'a str,
    /// The processor's model.
    pub model: &'a str,
    /// The processor's clock, in kHz.
    pub khz: u64,
}

/// Makes a question its answer; `false` if it is none that is answered.
#[must_use]
pub fn answer(mad: &mut Mad, identity: &Identity<'_>) -> bool {
    let header = &mut mad.header;
    if header.method != Method::GET || mad.data[OUI] != OPENIB {
        return false;
    }
    let mut text = Text { room: &mut mad.data[DATA..] };
    // What does not fit is cut.
    let _ = match (header.class, header.attribute_id) {
        (PING, _) | (SYSTEM_STATUS, STATUS_HOST) => text.write_str(identity.host),
        (SYSTEM_STATUS, STATUS_PING) => return respond(mad),
        (SYSTEM_STATUS, STATUS_PROCESSORS) => {
            let (mhz, fraction) = (identity.khz / 1000, identity.khz % 1000);
            writeln!(text, "cpu 0: model {} MHZ {mhz}.{fraction:03}", identity.model)
        }
        _ => return false,
    };
    text.end();
    respond(mad)
}

fn respond(mad: &mut Mad) -> bool {
    mad.header.method = Method::GET_RESP;
    mad.header.status = Status::OK;
    true
}

/// Text that is cut to its room, but for a zero behind it.
struct Text<'a> {
    room: &'a mut [u8],
}

impl Text<'_> {
    fn end(self) {
        self.room.fill(0);
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let length = text.len().min(self.room.len().saturating_sub(1));
        let (into, room) = core::mem::take(&mut self.room).split_at_mut(length);
        into.copy_from_slice(&text.as_bytes()[..length]);
        self.room = room;
        if length == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
