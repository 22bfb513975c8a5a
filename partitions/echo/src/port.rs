//! Queue pair 1 of a port, and its buffers.

use iba::mad::Mad;
use iba::{PortNum, QKey};
use lhca::{CallError, CompletionQueue, Lhca, NewQueuePair, QueuePair, Vmmcall};
use lhca_contract::{
    Completion, CompletionKind, CompletionStatus, QueuePairChange, QueuePairFields, QueuePairKind, QueuePairState,
    ReceiveEntry, SendEntry,
};

use crate::answer::answer;
use crate::machine::{Buffer, Memory};

/// Buffers of each port, as a power of two; and completions for all that they can have under way at both ports.
const LOG_BUFFERS: u8 = 4;
const BUFFERS: usize = 1 << LOG_BUFFERS;
pub(crate) const COMPLETIONS: u8 = LOG_BUFFERS + 2;

/// Before each payload there is room for a global route header.
const GRH: usize = 40;

/// A port that answers.
pub(crate) struct Port {
    pair: QueuePair,
    buffers: [Buffer; BUFFERS],
}

impl Port {
    /// Opens queue pair 1 of the port `number`, and posts all buffers.
    pub(crate) fn open(
        lhca: &Lhca<Vmmcall>,
        number: PortNum,
        memory: &mut Memory,
        completions: &CompletionQueue,
    ) -> Result<Self, CallError> {
        let new = NewQueuePair {
            kind: QueuePairKind::GSI,
            port: number,
            send: memory.ring(LOG_BUFFERS),
            receive: memory.ring(LOG_BUFFERS),
            send_completions: completions,
            receive_completions: completions,
            vector: 0,
        };
        let mut pair = QueuePair::create(lhca, new)?;
        for state in [QueuePairState::INIT, QueuePairState::READY_TO_RECEIVE, QueuePairState::READY_TO_SEND] {
            let change = QueuePairChange { fields: QueuePairFields::STATE, state, ..QueuePairChange::default() };
            pair.modify(lhca, &change)?;
        }
        let buffers = core::array::from_fn(|_| memory.buffer(GRH + size_of::<Mad>()));
        let mut port = Self { pair, buffers };
        for nth in 0..BUFFERS {
            port.post(lhca, nth);
        }
        Ok(port)
    }

    /// Does what comes after `done`, if that is this port's.
    pub(crate) fn go_on(&mut self, lhca: &Lhca<Vmmcall>, done: &Completion, name: &[u8; 64]) {
        let nth = usize::try_from(done.id).unwrap_or(BUFFERS);
        if done.queue_pair != self.pair.handle() || nth >= BUFFERS {
            return;
        }
        let received = done.kind == CompletionKind::RECEIVE && done.status == CompletionStatus::SUCCESS;
        if !(received && done.length as usize == GRH + size_of::<Mad>() && self.answer(lhca, nth, done, name)) {
            self.post(lhca, nth);
        }
    }

    fn answer(&mut self, lhca: &Lhca<Vmmcall>, nth: usize, done: &Completion, name: &[u8; 64]) -> bool {
        let buffer = &self.buffers[nth];
        let mut mad: Mad = buffer.read(GRH);
        if !answer(&mut mad, name) {
            return false;
        }
        buffer.write(GRH, mad);
        let entry = SendEntry {
            id: nth as u64,
            segments: 1,
            sl: done.sl,
            dlid: done.slid,
            source_path: done.destination_path,
            p_key_index: done.p_key_index,
            remote_qp: done.source_qp,
            q_key: QKey::GSI,
            segment: buffer.segment(GRH),
            ..SendEntry::default()
        };
        self.pair.send(lhca, &entry).is_ok()
    }

    /// Lets a buffer be filled. There is room, as each buffer is posted once.
    fn post(&mut self, lhca: &Lhca<Vmmcall>, nth: usize) {
        let mut entry = ReceiveEntry { id: nth as u64, segments: 1, ..ReceiveEntry::default() };
        entry.segment[0] = self.buffers[nth].segment(0);
        let _ = self.pair.receive(lhca, &entry);
    }
}
