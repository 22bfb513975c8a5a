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

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use hca_driver::Doorbell;
use lhca_contract::Exits;
use lhca_engine::{BadAddress, Guest};
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

    /// The memory of a partition that is to be made.
    type Blank;

    /// Takes memory for the partition of `row`.
    ///
    /// # Errors
    /// Why there cannot be such a partition, for people.
    fn prepare(&mut self, row: &Lhca) -> Result<Self::Blank, String>;

    /// Wipes a piece of it, which takes no time to speak of. Whether there is more to wipe.
    fn wipe(&mut self, blank: &mut Self::Blank) -> bool;

    /// Makes the partition of `row`, to run for the `starts`th time, with the LHCA `id`, in the memory that was taken for it
    /// and is wiped.
    ///
    /// # Errors
    /// Why there cannot be one, for people.
    fn make(
        &mut self,
        blank: Self::Blank,
        row: &Lhca,
        id: LhcaId,
        starts: u32,
    ) -> Result<(Self::Guest, Self::Run), String>;

    /// Wipes a piece of what partitions that ended have left. Whether there is more to wipe.
    fn tidy(&mut self) -> bool;

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

    /// How often it was left, by reason; `None` if it is over.
    fn exits(&self) -> Option<Exits>;

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
    /// Whether those that ended have left something to wipe.
    untidy: bool,
    /// Those that are to be made, one after another, and their memory.
    beginning: VecDeque<(LhcaId, R::Blank)>,
    /// What waits for a partition's end or beginning.
    asked: Option<Asked>,
    /// A digest that is being taken.
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

/// What was asked for, and is not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// That a partition ends, and then this.
    End(LhcaId, Then),
    /// That one begins.
    Begin(LhcaId),
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
    /// Partitions for the LHCAs of `table`, which `fabric` has. Those begin that are to begin at boot, by and by in
    /// [`Life::tend`]; one that cannot is told of, and left.
    pub fn new<D: Doorbell>(now: Time, table: &Table<'_>, runner: R, fabric: &Mutex<Fabric<D, R::Guest>>) -> Self {
        let tenants = (0..).map(LhcaId).zip(table.lhcas()).map(|(id, row)| Tenant::new(*row, id)).collect();
        let (untidy, beginning, asked, digest) = (false, VecDeque::new(), None, None);
        let mut life = Self { over: runner.over(), runner, tenants, untidy, beginning, asked, digest };
        for nth in 0..life.tenants.len() {
            if life.tenants[nth].row.start() == Start::AtBoot
                && let Err(why) = life.begin(now, nth, fabric)
            {
                life.tenants[nth].cannot_begin(why);
            }
        }
        life
    }

    /// Whether a command's answer is still to come, by [`Life::tend`], or some still begin since boot: no other command is taken
    /// meanwhile.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.asked.is_some() || self.digest.is_some() || !self.beginning.is_empty()
    }

    /// Whether [`Life::tend`] has more to do at once. It does not do all at once, so that others have their turn.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.untidy || self.digest.is_some() || !self.beginning.is_empty()
    }

    /// Goes on by one small step with what takes many turns, and takes note of partitions that are over. What was asked for and
    /// is done then: the lines of its answer, or why there is none.
    pub fn tend<D: Doorbell>(
        &mut self,
        now: Time,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Option<Result<String, String>> {
        self.untidy = self.runner.tidy();
        let over = self.runner.over();
        if over != core::mem::replace(&mut self.over, over) {
            self.note_ends();
            if let Some(outcome) = self.after_end(now, fabric) {
                return Some(outcome);
            }
        }
        if self.untidy {
            return None;
        }
        if self.digest.is_some() { self.go_on_digesting() } else { self.make_first(now, fabric) }
    }

    fn note_ends(&mut self) {
        for tenant in &mut self.tenants {
            let State::Running(run) = &tenant.state else { continue };
            if let Some(end) = run.end() {
                let was_asked = matches!(self.asked, Some(Asked::End(id, _)) if id == tenant.id);
                tenant.state = if was_asked { State::Stopped(None) } else { State::Ended(end) };
            }
        }
    }

    /// Does what is to come after a partition's end, if that is over.
    fn after_end<D: Doorbell>(
        &mut self,
        now: Time,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Option<Result<String, String>> {
        let Some(Asked::End(id, then)) = self.asked else { return None };
        let nth = self.nth(id)?;
        if matches!(self.tenants[nth].state, State::Running(_)) {
            return None;
        }
        self.asked = None;
        match self.go_on(now, nth, then, fabric) {
            Ok(Done::Later) => None,
            outcome => Some(outcome.map(|_| String::new())),
        }
    }

    /// Wipes a piece of the memory of the first one that is to begin, or if that is done lets it begin.
    fn make_first<D: Doorbell>(
        &mut self,
        now: Time,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Option<Result<String, String>> {
        if self.runner.wipe(&mut self.beginning.front_mut()?.1) {
            return None;
        }
        let (id, blank) = self.beginning.pop_front()?;
        let nth = self.nth(id)?;
        let outcome = self.tenants[nth].begin(now, blank, &mut self.runner, fabric);
        if let Err(why) = &outcome {
            self.tenants[nth].cannot_begin(why.clone());
        }
        self.asked.take_if(|asked| *asked == Asked::Begin(id)).map(|_| outcome.map(|()| String::new()))
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
            self.asked = Some(Asked::End(*id, then));
            return Ok(Done::Later);
        }
        fabric.lock().set_plugged(now, *id, false);
        self.go_on(now, nth, then, fabric)
    }

    /// Does what comes after the end of a tenant's partition.
    fn go_on<D: Doorbell>(
        &mut self,
        now: Time,
        nth: usize,
        then: Then,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Result<Done, String> {
        match then {
            Then::Stay => Ok(Done::Now),
            Then::BeginAgain => self.begin_one(now, nth, fabric),
            Then::Leave => {
                let gone = self.tenants.remove(nth);
                fabric.lock().remove(now, gone.id);
                Ok(Done::Now)
            }
        }
    }

    /// Lets a tenant begin, as [`Self::begin`] does, because somebody asked for it.
    fn begin_one<D: Doorbell>(
        &mut self,
        now: Time,
        nth: usize,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Result<Done, String> {
        let done = self.begin(now, nth, fabric)?;
        if done == Done::Later {
            self.asked = Some(Asked::Begin(self.tenants[nth].id));
        }
        Ok(done)
    }

    /// Lets the partition of a tenant begin, which does not run, when its memory is wiped. Where there is none, the LHCA is
    /// plugged in.
    fn begin<D: Doorbell>(
        &mut self,
        now: Time,
        nth: usize,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Result<Done, String> {
        let Tenant { row, id, state, .. } = &self.tenants[nth];
        match state {
            State::None => {
                fabric.lock().set_plugged(now, *id, true);
                Ok(Done::Now)
            }
            State::Running(_) => Err(format!("{} runs already", row.name())),
            State::Stopped(_) | State::Ended(_) => {
                self.beginning.push_back((*id, self.runner.prepare(row)?));
                Ok(Done::Later)
            }
        }
    }

    /// Adds an LHCA, and lets its partition begin if it is to begin at boot.
    fn add<D: Doorbell>(&mut self, now: Time, row: Lhca, fabric: &Mutex<Fabric<D, R::Guest>>) -> Result<Done, String> {
        if self.find(row.name().text()).is_some() {
            return Err(format!("the name {0} is taken: choose another, or remove {0} first", row.name()));
        }
        let id = fabric.lock().add(&row).map_err(|error| error.to_string())?;
        self.tenants.push(Tenant::new(row, id));
        if row.start() != Start::AtBoot {
            return Ok(Done::Now);
        }
        let begun = self.begin_one(now, self.tenants.len() - 1, fabric);
        if begun.is_err() {
            self.tenants.pop();
            fabric.lock().remove(now, id);
        }
        begun
    }

    fn nth(&self, id: LhcaId) -> Option<usize> {
        self.tenants.iter().position(|tenant| tenant.id == id)
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.tenants.iter().position(|tenant| tenant.row.name().text() == name)
    }
}

impl<P: Run> Tenant<P> {
    fn new(row: Lhca, id: LhcaId) -> Self {
        let state = if row.partition().is_some() { State::Stopped(None) } else { State::None };
        Self { row, id, starts: 0, state }
    }

    /// Makes the partition in memory that is wiped, and lets it run.
    fn begin<D: Doorbell, R: Runner<Run = P>>(
        &mut self,
        now: Time,
        blank: R::Blank,
        runner: &mut R,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Result<(), String> {
        let starts = self.starts.saturating_add(1);
        // Not under the lock: to lay out an image takes some 20 000 instructions, and 141 000 for the subnet manager's 400 KB.
        // That is too little to be worth turns of its own.
        let (guest, run) = runner.make(blank, &self.row, self.id, starts)?;
        self.starts = starts;
        fabric.lock().attach(now, self.id, guest, self.row.policy());
        run.begin();
        self.state = State::Running(run);
        Ok(())
    }

    /// Tells why the partition cannot begin, and keeps it in mind.
    fn cannot_begin(&mut self, why: String) {
        log::error!("partition {} cannot begin: {why}", self.row.name());
        self.state = State::Stopped(Some(why));
    }
}
