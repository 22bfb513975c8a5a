//! The port's part in RMPP: segments that arrive, and the answers to segments that it sent.

use std::time::Instant;

use iba::rmpp::{RmppHeader, RmppStatus, RmppType};

use super::outlet::Outlet;
use super::transfer::{Arrival, Transfer, TransferKey};
use super::{Port, Timer};
use crate::rmpp::{Outcome, Step};

impl Port {
    /// Takes a MAD of an RMPP transaction. Returns the whole message if this MAD completes it.
    pub(super) fn receive_segment(
        &mut self,
        now: Instant,
        arrival: &Arrival<'_>,
        out: &mut impl Outlet,
    ) -> Option<Vec<u8>> {
        let RmppHeader { version, kind, status, .. } = arrival.segment.rmpp;
        let fault = match kind {
            _ if version != RmppHeader::VERSION => RmppStatus::BAD_VERSION,
            RmppType::DATA => return self.receive_data(now, arrival, out),
            RmppType::ACK if status == RmppStatus::NORMAL => {
                self.receive_ack(now, arrival, out);
                return None;
            }
            RmppType::ACK => RmppStatus::ILLEGAL_STATUS,
            RmppType::STOP | RmppType::ABORT => {
                self.forget_transfer(arrival.transfer());
                self.abort(arrival.answers, out);
                return None;
            }
            _ => RmppStatus::BAD_TYPE,
        };
        out.transmit(arrival.abort(fault));
        self.abort(arrival.answers, out);
        None
    }

    /// Takes a segment of a message. Returns the whole message if this segment completes it.
    fn receive_data(&mut self, now: Instant, arrival: &Arrival<'_>, out: &mut impl Outlet) -> Option<Vec<u8>> {
        // A peer that sends segments is answering: the request's time starts again.
        self.restart(now, arrival.answers);
        let key = arrival.transfer();
        if arrival.segment.rmpp.segment.get() == 1 && !self.transfers.contains_key(&key) {
            let transfer = Transfer::new(now, arrival);
            self.timers.insert((transfer.deadline(), Timer::Transfer(key)));
            self.transfers.insert(key, transfer);
        }
        let transfer = self.transfers.get_mut(&key)?;
        match transfer.take(arrival.segment) {
            Step::Wait => None,
            Step::Acknowledge => {
                out.transmit(transfer.acknowledgement(arrival));
                None
            }
            Step::Complete(message) => {
                out.transmit(transfer.acknowledgement(arrival));
                self.timers.remove(&(transfer.deadline(), Timer::Transfer(key)));
                transfer.linger(now);
                self.timers.insert((transfer.deadline(), Timer::Transfer(key)));
                Some(message)
            }
            Step::Abort(status) => {
                self.forget_transfer(key);
                out.transmit(arrival.abort(status));
                None
            }
        }
    }

    /// Takes an acknowledgement of segments that this port sent.
    fn receive_ack(&mut self, now: Instant, arrival: &Arrival<'_>, out: &mut impl Outlet) {
        let key = arrival.answers;
        let Some(send) = self.sends.get_mut(&key) else { return };
        let rmpp = &arrival.segment.rmpp;
        match send.acknowledge(rmpp.segment.get(), rmpp.length_or_window.get()) {
            Outcome::Stale => {}
            Outcome::Progress => {
                send.transmit(out);
                self.restart(now, key);
            }
            Outcome::Complete if send.expects_response() => self.restart(now, key),
            Outcome::Complete => {
                self.finish(key);
            }
            Outcome::Abort(status) => {
                out.transmit(arrival.abort(status));
                self.abort(key, out);
            }
        }
    }

    /// Forgets a message at its deadline: it took too long to arrive, or needs no further acknowledgement.
    pub(super) fn expire_transfer(&mut self, key: TransferKey, out: &mut impl Outlet) {
        if let Some(abort) = self.forget_transfer(key).and_then(|transfer| transfer.expired()) {
            out.transmit(abort);
        }
    }

    fn forget_transfer(&mut self, key: TransferKey) -> Option<Transfer> {
        let transfer = self.transfers.remove(&key)?;
        self.timers.remove(&(transfer.deadline(), Timer::Transfer(key)));
        Some(transfer)
    }
}
