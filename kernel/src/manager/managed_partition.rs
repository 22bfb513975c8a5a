//! An LHCA and its partition, as the manager keeps them.

use alloc::string::String;
use core::fmt::{self, Write};

use control_protocol::{PartitionState, Program, Record};
use lhca_contract::Exits;
use partition_table::Lhca;
use subnet::LhcaId;

use super::factory::RunningPartition;

/// An LHCA with its row of the partition table, and the state of its partition.
#[derive(Debug)]
pub(super) struct ManagedPartition<P> {
    pub(super) row: Lhca,
    pub(super) id: LhcaId,
    pub(super) starts: u32,
    pub(super) state: State<P>,
}

/// State of a partition.
#[derive(Debug)]
pub(super) enum State<P> {
    /// The row has no image: the hypervisor alone answers for the LHCA.
    Absent,
    /// The partition has not started or was stopped; with the reason if it could not start.
    Stopped(Option<String>),
    /// The partition runs.
    Running(P),
    /// The partition ended by itself, for this reason.
    Ended(String),
}

impl<P> ManagedPartition<P> {
    /// Creates the record of the LHCA `id`, whose partition has not started.
    pub(super) fn new(row: Lhca, id: LhcaId) -> Self {
        let state = if row.partition().is_some() { State::Stopped(None) } else { State::Absent };
        Self { row, id, starts: 0, state }
    }

    /// Logs the reason for which the partition cannot start, and keeps it.
    pub(super) fn note_failed_start(&mut self, why: String) {
        log::error!("cannot start partition {}: {why}", self.row.name());
        self.state = State::Stopped(Some(why));
    }

    /// Returns `true` if the LHCA may be plugged in: its partition runs, or it has none.
    pub(super) fn may_be_plugged(&self) -> bool {
        matches!(self.state, State::Absent | State::Running(_))
    }

    /// Writes the record of the partition.
    ///
    /// # Errors
    /// `answer` is full.
    pub(super) fn show(&self, answer: &mut impl Write) -> fmt::Result {
        let Self { row, starts, state, .. } = self;
        let (state, because) = match state {
            State::Absent => (PartitionState::Absent, None),
            State::Stopped(why) => (PartitionState::Stopped, why.as_ref()),
            State::Running(_) => (PartitionState::Running, None),
            State::Ended(end) => (PartitionState::Ended, Some(end)),
        };
        let program = row.partition();
        let program = program.as_ref().map(|program| Program {
            starts: *starts,
            memory: program.memory,
            image: program.image.text(),
        });
        let qp0 = alloc::string::ToString::to_string(&row.policy().qp0);
        let record = control_protocol::Partition { state, program, qp0: &qp0, name: row.name().text() };
        writeln!(answer, "{record}")?;
        because.map_or(Ok(()), |because| writeln!(answer, "{}", Record::Because(because)))
    }
}

impl<P: RunningPartition> ManagedPartition<P> {
    /// Writes the number of the partition's VM exits, if it runs.
    ///
    /// # Errors
    /// `answer` is full.
    pub(super) fn show_exits(&self, answer: &mut impl Write) -> fmt::Result {
        let State::Running(partition) = &self.state else { return Ok(()) };
        let Some(Exits { doorbells, calls, halts, interrupts, others }) = partition.exits() else { return Ok(()) };
        writeln!(answer, "{}", control_protocol::Exits { doorbells, calls, halts, interrupts, others })
    }
}
