//! The life of partitions: they begin, end, and begin again; LHCAs come and go.
//!
//! Each LHCA keeps its place at the logical switches, and its GUIDs, from the table's row to its removal, so that a subnet
//! manager gives it the same LID again. Its cable is in while its partition runs: from the moment when the partition
//! begins, not only when its driver opens a queue pair, because the hypervisor answers for the port, and the subnet manager
//! may do its work meanwhile.
//!
//! Who makes partitions run is a [`Runner`]; so all of this is tested without any.

mod command;
mod digest;
#[cfg(test)]
pub(crate) mod tests;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use hca_driver::Doorbell;
use lhca_engine::{BadAddress, Guest, Policy, Qp0, Refused};
use partition_table::{Lhca, Start, Table};
use spin::Mutex;
use subnet::{LhcaId, Time};

pub use self::command::tell;
use self::digest::Digest;
use crate::fabric::Fabric;

/// Makes partitions, and lets them run.
pub trait Runner {
    /// A partition, as the engine of its LHCA reaches it.
    type Guest: Guest;
    /// A partition, as it is told to begin and to end.
    type Run: Run;

    /// Makes the partition of `row`, to run for the `starts`th time, with the LHCA `id`.
    ///
    /// # Errors
    /// Why there cannot be one, for people.
    fn make(&mut self, row: &Lhca, id: LhcaId, starts: u32) -> Result<(Self::Guest, Self::Run), String>;

    /// How many partitions are over.
    fn over(&self) -> u32;

    /// Bytes of memory that are free.
    fn free_memory(&self) -> u64;
}

/// A partition that was made.
pub trait Run {
    /// Lets it run.
    fn begin(&self);

    /// Ends it, wherever it is.
    fn stop(&self);

    /// How it ended, once it is over: its LHCA is detached, and its memory wiped and free again.
    fn end(&self) -> Option<String>;

    /// Copies from its memory at `address` on.
    ///
    /// # Errors
    /// [`BadAddress`]: it has no such memory, or none any more.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), BadAddress>;
}

/// The partitions of a hypervisor.
#[derive(Debug)]
pub struct Life<R: Runner> {
    runner: R,
    tenants: Vec<Tenant<R::Run>>,
    /// How many partitions were over when that was last looked at.
    over: u32,
    /// What waits for a partition's end.
    asked: Option<Asked>,
    /// What goes on from turn to turn.
    digest: Option<Digest>,
}

/// An LHCA, and its partition if it has one.
#[derive(Debug)]
struct Tenant<P> {
    row: Lhca,
    id: LhcaId,
    starts: u32,
    state: State<P>,
}

#[derive(Debug)]
enum State<P> {
    /// There is no partition.
    None,
    /// It has not begun, or was stopped; why it could not begin, if that is so.
    Stopped(Option<String>),
    Running(P),
    /// It ended by itself, so.
    Ended(String),
}

/// A partition was told to end; and then?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    id: LhcaId,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Stay,
    BeginAgain,
    Leave,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Now,
    /// When the partition is over.
    Later,
}

impl<R: Runner> Life<R> {
    /// Partitions for the LHCAs of `table`, which `fabric` has. Those begin that are to begin at boot; one that cannot is
    /// told of, and left.
    pub fn new<D: Doorbell>(now: Time, table: &Table<'_>, runner: R, fabric: &Mutex<Fabric<D, R::Guest>>) -> Self {
        let tenants = (0..).map(LhcaId).zip(table.lhcas()).map(|(id, row)| Tenant::new(*row, id)).collect();
        let mut life = Self { over: runner.over(), runner, tenants, asked: None, digest: None };
        for tenant in &mut life.tenants {
            if tenant.row.start == Start::AT_BOOT
                && let Err(why) = tenant.begin(now, &mut life.runner, fabric)
            {
                log::error!("partition {} cannot begin: {why}", tenant.row.name);
                tenant.state = State::Stopped(Some(why));
            }
        }
        life
    }

    /// Whether a command's answer is still to come, by [`Life::tend`]: no other command is taken meanwhile.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.asked.is_some() || self.is_busy()
    }

    /// Whether [`Life::tend`] is to be called again at once.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.digest.is_some()
    }

    /// Takes note of partitions that are over, and goes on with what takes many turns. What was asked for and is done then:
    /// the lines of its answer, or why there is none.
    pub fn tend<D: Doorbell>(
        &mut self,
        now: Time,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Option<Result<String, String>> {
        let over = self.runner.over();
        if over != self.over {
            self.over = over;
            self.note_ends();
        }
        if self.is_busy() {
            return self.go_on_digesting();
        }
        let Asked { id, then } = self.asked?;
        let nth = self.tenants.iter().position(|tenant| tenant.id == id)?;
        if matches!(self.tenants[nth].state, State::Running(_)) {
            return None;
        }
        self.asked = None;
        Some(self.go_on(now, nth, then, fabric).map(|()| String::new()))
    }

    fn note_ends(&mut self) {
        for tenant in &mut self.tenants {
            let State::Running(run) = &tenant.state else { continue };
            if let Some(end) = run.end() {
                let was_asked = self.asked.is_some_and(|asked| asked.id == tenant.id);
                tenant.state = if was_asked { State::Stopped(None) } else { State::Ended(end) };
            }
        }
    }

    /// Ends the partition of a tenant if it runs, and then does the rest.
    fn end<D: Doorbell>(
        &mut self,
        now: Time,
        nth: usize,
        then: Then,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Result<Done, String> {
        let Tenant { id, state, .. } = &self.tenants[nth];
        if let State::Running(run) = state {
            run.stop();
            self.asked = Some(Asked { id: *id, then });
            return Ok(Done::Later);
        }
        fabric.lock().set_plugged(now, *id, false);
        self.go_on(now, nth, then, fabric).map(|()| Done::Now)
    }

    /// Does what comes after the end of a tenant's partition.
    fn go_on<D: Doorbell>(
        &mut self,
        now: Time,
        nth: usize,
        then: Then,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Result<(), String> {
        match then {
            Then::Stay => Ok(()),
            Then::BeginAgain => self.tenants[nth].begin(now, &mut self.runner, fabric),
            Then::Leave => {
                let gone = self.tenants.remove(nth);
                fabric.lock().remove(now, gone.id);
                Ok(())
            }
        }
    }

    /// Adds an LHCA, and lets its partition begin if it is to begin at boot.
    fn add<D: Doorbell>(&mut self, now: Time, row: Lhca, fabric: &Mutex<Fabric<D, R::Guest>>) -> Result<(), String> {
        if self.find(row.name.text()).is_some() {
            return Err(format!("there is a {} already: choose another name, or remove it first", row.name));
        }
        let id = fabric.lock().add(&row).map_err(|error| error.to_string())?;
        let mut tenant = Tenant::new(row, id);
        if row.start == Start::AT_BOOT
            && let Err(why) = tenant.begin(now, &mut self.runner, fabric)
        {
            fabric.lock().remove(now, id);
            return Err(why);
        }
        self.tenants.push(tenant);
        Ok(())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.tenants.iter().position(|tenant| tenant.row.name.text() == name)
    }
}

impl<P: Run> Tenant<P> {
    fn new(row: Lhca, id: LhcaId) -> Self {
        let state = if row.partition().is_some() { State::Stopped(None) } else { State::None };
        Self { row, id, starts: 0, state }
    }

    /// Lets the partition begin, which does not run. Where there is none, the LHCA is plugged in.
    fn begin<D: Doorbell, R: Runner<Run = P>>(
        &mut self,
        now: Time,
        runner: &mut R,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Result<(), String> {
        match self.state {
            State::None => fabric.lock().set_plugged(now, self.id, true),
            State::Running(_) => return Err(format!("{} runs already", self.row.name)),
            State::Stopped(_) | State::Ended(_) => {
                let starts = self.starts.saturating_add(1);
                // Not under the lock: it may take long to read an image and to wipe memory.
                let (guest, run) = runner.make(&self.row, self.id, starts)?;
                self.starts = starts;
                fabric.lock().attach(now, self.id, guest, policy(&self.row));
                run.begin();
                self.state = State::Running(run);
            }
        }
        Ok(())
    }
}

fn policy(row: &Lhca) -> Policy {
    Policy {
        qp0: match row.qp0 {
            partition_table::Qp0::QUERY => Qp0::Query,
            partition_table::Qp0::MANAGER => Qp0::Manager,
            _ => Qp0::None,
        },
        refused: if row.refused == partition_table::Refused::ANSWER { Refused::Answer } else { Refused::Drop },
        smps_per_second: row.smps_per_second.get(),
        traps_per_second: row.traps_per_second.get(),
    }
}
