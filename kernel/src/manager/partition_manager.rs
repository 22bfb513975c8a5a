//! The manager itself.
//!
//! Each LHCA keeps its ports at the logical switches, and its GUIDs, from the coming of its row to its removal, so that
//! a subnet manager gives it the same LID again. It is plugged in while its partition runs: from the partition's start,
//! not only when its driver opens a queue pair, because the hypervisor answers for the port and the subnet manager may
//! do its work meanwhile.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use hca_driver::Doorbell;
use lhca_engine::BadAddress;
use partition_table::{Lhca, Start, Table};
use spin::Mutex;
use subnet::{LhcaId, Time};

use super::digest::{MemoryDigest, Step};
use super::factory::{PartitionFactory, RunningPartition};
use super::managed_partition::{ManagedPartition, State};
use crate::fabric::Fabric;

/// Answer of a request: its lines, or the reason of its refusal.
pub type Answer = Result<String, String>;

/// The partitions of a hypervisor.
pub struct PartitionManager<D, F: PartitionFactory> {
    pub(super) fabric: Arc<Mutex<Fabric<D, F::Guest>>>,
    pub(super) factory: F,
    pub(super) partitions: Vec<ManagedPartition<F::Running>>,
    /// Partitions that will start, in order, once their reservations are scrubbed.
    starting: VecDeque<(LhcaId, F::Reservation)>,
    pending: PendingRequest,
    /// `true` while memory of ended partitions must be scrubbed.
    is_scrubbing: bool,
    /// Number of ended partitions at the last poll.
    ends: u32,
}

/// The request whose answer is due. There is at most one: the control line accepts no other meanwhile.
///
/// | state | event | next state |
/// |---|---|---|
/// | `Idle` | `start` | `Start` |
/// | `Idle` | `stop`, `restart`, `remove` of a running partition | `End` |
/// | `Idle` | `digest` of a running partition | `Digest` |
/// | `Start` | the partition starts, or cannot | `Idle`, answered |
/// | `End` with `Restart` | the partition has ended | `Start` |
/// | `End` with another | the partition has ended | `Idle`, answered |
/// | `Digest` | all memory is read, or the partition has ended | `Idle`, answered |
#[derive(Debug, Default)]
enum PendingRequest {
    #[default]
    Idle,
    /// The partition with this LHCA must end, and then this.
    End(LhcaId, AfterEnd),
    /// The partition with this LHCA must start.
    Start(LhcaId),
    /// A digest must be taken.
    Digest(MemoryDigest),
}

/// Act after the end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterEnd {
    /// The partition stays stopped.
    Stay,
    /// The partition starts again.
    Restart,
    /// Its LHCA is removed.
    Remove,
}

/// Completion of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completion {
    /// The request is done.
    Now,
    /// The request is pending.
    Later,
}

impl<D: Doorbell, F: PartitionFactory> PartitionManager<D, F> {
    /// Creates the manager of the LHCAs of `table`, which `fabric` has. Partitions that start at boot start one by one
    /// in [`PartitionManager::poll`]; one that cannot is logged and stays stopped.
    pub fn new(now: Time, table: &Table<'_>, factory: F, fabric: Arc<Mutex<Fabric<D, F::Guest>>>) -> Self {
        let partitions = (0..).map(LhcaId).zip(table.lhcas()).map(|(id, row)| ManagedPartition::new(*row, id));
        let mut manager = Self {
            fabric,
            ends: factory.ends(),
            factory,
            partitions: partitions.collect(),
            starting: VecDeque::new(),
            pending: PendingRequest::Idle,
            is_scrubbing: false,
        };
        for index in 0..manager.partitions.len() {
            if manager.partitions[index].row.start() == Start::AtBoot
                && let Err(why) = manager.prepare_start(now, index)
            {
                manager.partitions[index].note_failed_start(why);
            }
        }
        manager
    }

    /// Returns `true` while an answer is due from [`PartitionManager::poll`], or partitions of the boot still start: no
    /// further request is accepted.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !matches!(self.pending, PendingRequest::Idle) || !self.starting.is_empty()
    }

    /// Returns `true` if [`PartitionManager::poll`] must be called again at once. It does one small step at a time, so
    /// that the fabric has its turn in between.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is_scrubbing || matches!(self.pending, PendingRequest::Digest(_)) || !self.starting.is_empty()
    }

    /// Does one step of the work that takes many, and notes ends of partitions. Returns the answer of the pending
    /// request when that is done.
    pub fn poll(&mut self, now: Time) -> Option<Answer> {
        self.is_scrubbing = self.factory.scrub_pending();
        let ends = self.factory.ends();
        if ends != core::mem::replace(&mut self.ends, ends) {
            self.note_ends();
            if let Some(answer) = self.finish_end(now) {
                return Some(answer);
            }
        }
        if self.is_scrubbing {
            return None;
        }
        if matches!(self.pending, PendingRequest::Digest(_)) { self.step_digest() } else { self.start_first(now) }
    }

    fn note_ends(&mut self) {
        for partition in &mut self.partitions {
            let State::Running(running) = &partition.state else { continue };
            if let Some(end) = running.end() {
                let is_requested = matches!(self.pending, PendingRequest::End(id, _) if id == partition.id);
                partition.state = if is_requested { State::Stopped(None) } else { State::Ended(end) };
            }
        }
    }

    /// Does the act after the end of a partition, if that is pending and the partition has ended.
    fn finish_end(&mut self, now: Time) -> Option<Answer> {
        let PendingRequest::End(id, after) = self.pending else { return None };
        let index = self.index_of(id)?;
        if matches!(self.partitions[index].state, State::Running(_)) {
            return None;
        }
        self.pending = PendingRequest::Idle;
        match self.act_after_end(now, index, after) {
            Ok(Completion::Later) => None,
            outcome => Some(outcome.map(|_| String::new())),
        }
    }

    /// Scrubs a piece of the first reservation, or starts its partition if that is done.
    fn start_first(&mut self, now: Time) -> Option<Answer> {
        if self.factory.scrub(&mut self.starting.front_mut()?.1) {
            return None;
        }
        let (id, reservation) = self.starting.pop_front()?;
        let index = self.index_of(id)?;
        let outcome = self.start_in(now, index, reservation);
        if let Err(why) = &outcome {
            self.partitions[index].note_failed_start(why.clone());
        }
        if !matches!(self.pending, PendingRequest::Start(pending) if pending == id) {
            return None;
        }
        self.pending = PendingRequest::Idle;
        Some(outcome.map(|()| String::new()))
    }

    /// Creates the partition in a scrubbed reservation, and starts it.
    fn start_in(&mut self, now: Time, index: usize, reservation: F::Reservation) -> Result<(), String> {
        let partition = &mut self.partitions[index];
        let starts = partition.starts.saturating_add(1);
        // Without the fabric's lock. To load an image takes some 20,000 instructions, 141,000 for the subnet manager's
        // 400 KB, which is too little for steps of its own.
        let (guest, running) = self.factory.create(reservation, &partition.row, partition.id, starts)?;
        partition.starts = starts;
        self.fabric.lock().attach(now, partition.id, guest, partition.row.policy());
        running.start();
        partition.state = State::Running(running);
        Ok(())
    }

    /// Ends a partition if it runs, and does the act after.
    pub(super) fn end(&mut self, now: Time, index: usize, after: AfterEnd) -> Result<Completion, String> {
        let ManagedPartition { id, state, .. } = &self.partitions[index];
        if let State::Running(running) = state {
            running.stop();
            self.pending = PendingRequest::End(*id, after);
            return Ok(Completion::Later);
        }
        self.fabric.lock().set_plugged(now, *id, false);
        self.act_after_end(now, index, after)
    }

    fn act_after_end(&mut self, now: Time, index: usize, after: AfterEnd) -> Result<Completion, String> {
        match after {
            AfterEnd::Stay => Ok(Completion::Now),
            AfterEnd::Restart => self.start(now, index),
            AfterEnd::Remove => {
                let removed = self.partitions.remove(index);
                self.fabric.lock().remove(now, removed.id);
                Ok(Completion::Now)
            }
        }
    }

    /// Starts a partition by request.
    pub(super) fn start(&mut self, now: Time, index: usize) -> Result<Completion, String> {
        let completion = self.prepare_start(now, index)?;
        if completion == Completion::Later {
            self.pending = PendingRequest::Start(self.partitions[index].id);
        }
        Ok(completion)
    }

    /// Reserves memory for a partition that does not run; it starts when the reservation is scrubbed. An LHCA without a
    /// partition is plugged in.
    fn prepare_start(&mut self, now: Time, index: usize) -> Result<Completion, String> {
        let ManagedPartition { row, id, state, .. } = &self.partitions[index];
        match state {
            State::Absent => {
                self.fabric.lock().set_plugged(now, *id, true);
                Ok(Completion::Now)
            }
            State::Running(_) => Err(format!("{} runs already", row.name())),
            State::Stopped(_) | State::Ended(_) => {
                self.starting.push_back((*id, self.factory.reserve(row)?));
                Ok(Completion::Later)
            }
        }
    }

    /// Adds an LHCA, and starts its partition if it starts at boot.
    pub(super) fn add(&mut self, now: Time, row: Lhca) -> Result<Completion, String> {
        if self.find(row.name().text()).is_some() {
            return Err(format!("the name {0} is taken: choose another, or remove {0} first", row.name()));
        }
        let id = self.fabric.lock().add(&row).map_err(|error| error.to_string())?;
        self.partitions.push(ManagedPartition::new(row, id));
        if row.start() != Start::AtBoot {
            return Ok(Completion::Now);
        }
        let started = self.start(now, self.partitions.len() - 1);
        if started.is_err() {
            self.partitions.pop();
            self.fabric.lock().remove(now, id);
        }
        started
    }

    /// Starts the digest of a partition's memory.
    pub(super) fn digest(&mut self, index: usize) -> Result<Completion, String> {
        let ManagedPartition { row, id, state, .. } = &self.partitions[index];
        match (state, row.partition()) {
            (State::Running(_), Some(program)) => {
                self.pending = PendingRequest::Digest(MemoryDigest::new(*id, program.bytes()));
                Ok(Completion::Later)
            }
            (_, None) => Err(format!("{} has no partition, and so no memory", row.name())),
            _ => Err(format!("{0} does not run, and so has no memory: `start {0}` starts it", row.name())),
        }
    }

    /// Does a step of the pending digest. Returns its answer when it is done.
    fn step_digest(&mut self) -> Option<Answer> {
        let PendingRequest::Digest(digest) = &mut self.pending else { return None };
        let id = digest.id();
        let partition = self.partitions.iter().find(|partition| partition.id == id);
        let step = match partition.map(|partition| &partition.state) {
            Some(State::Running(running)) => digest.step(running),
            _ => Err(BadAddress),
        };
        let name = partition.map(|partition| partition.row.name().text());
        let answer = match step {
            Ok(Step::More) => return None,
            Ok(Step::Done) => None,
            Err(BadAddress) => Some(Err(format!("{} ended meanwhile", name.unwrap_or_default()))),
        };
        match core::mem::take(&mut self.pending) {
            PendingRequest::Digest(digest) => answer.or_else(|| Some(Ok(format!("{}\n", digest.record())))),
            _ => None,
        }
    }

    fn index_of(&self, id: LhcaId) -> Option<usize> {
        self.partitions.iter().position(|partition| partition.id == id)
    }

    /// Returns the index of the LHCA `name`.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.partitions.iter().position(|partition| partition.row.name().text() == name)
    }
}
