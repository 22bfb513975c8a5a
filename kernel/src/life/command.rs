//! Requests of the control line.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

use control_protocol::{
    Ending, FreeMemory, LinkStatus, Partition, PartitionState, Place, Program, Record, Request, Row, Version,
};
use hca_driver::Doorbell;
use lhca_contract::Exits;
use partition_table::Lhca;
use spin::Mutex;
use subnet::Time;

use super::{Done, Life, Run, Runner, State, Tenant, Then};
use crate::fabric::{AtPort, Fabric};

impl<R: Runner> Life<R> {
    /// Does what `line` asks for, and answers on `answer`; or, if [`Life::is_waiting`] afterwards, later.
    ///
    /// # Errors
    /// `answer` took no more.
    pub fn command<D: Doorbell>(
        &mut self,
        now: Time,
        line: &str,
        fabric: &Mutex<Fabric<D, R::Guest>>,
        answer: &mut impl Write,
    ) -> fmt::Result {
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(error) => return tell(&Err(error.to_string()), answer),
        };
        let done = match request {
            Request::Version => {
                writeln!(answer, "{}", Version { version: control_protocol::VERSION })?;
                Ok(Done::Now)
            }
            Request::List => {
                self.list(fabric, answer)?;
                Ok(Done::Now)
            }
            Request::Status => {
                fabric.lock().status(answer)?;
                writeln!(answer, "{}", FreeMemory { memory: self.runner.free_memory() })?;
                Ok(Done::Now)
            }
            Request::LhcaStatus(name) => match self.named(name) {
                Ok(nth) => {
                    self.show(nth, fabric, answer)?;
                    fabric.lock().status_of(self.tenants[nth].id, answer)?;
                    self.tenants[nth].show_exits(answer)?;
                    Ok(Done::Now)
                }
                Err(why) => Err(why),
            },
            Request::Digest(name) => self.named(name).and_then(|nth| self.digest(nth)),
            Request::Port(place, direction) => self.set_port(now, place, direction, fabric).map(|()| Done::Now),
            Request::Start(name) => self.named(name).and_then(|nth| self.begin_one(now, nth, fabric)),
            Request::Stop(name) => self.end_one(now, name, Then::Stay, fabric),
            Request::Restart(name) => self.end_one(now, name, Then::BeginAgain, fabric),
            Request::Remove(name) => self.end_one(now, name, Then::Leave, fabric),
            Request::Add(row) => unpack(row).and_then(|row| self.add(now, row, fabric)),
        };
        match done {
            Ok(Done::Now) => tell(&Ok(String::new()), answer),
            Ok(Done::Later) => Ok(()),
            Err(why) => tell(&Err(why), answer),
        }
    }

    /// The LHCAs, their partitions, and their ports.
    fn list<D: Doorbell>(&self, fabric: &Mutex<Fabric<D, R::Guest>>, answer: &mut impl Write) -> fmt::Result {
        (0..self.tenants.len()).try_for_each(|nth| self.show(nth, fabric, answer))
    }

    fn show<D: Doorbell>(
        &self,
        nth: usize,
        fabric: &Mutex<Fabric<D, R::Guest>>,
        answer: &mut impl Write,
    ) -> fmt::Result {
        let tenant = &self.tenants[nth];
        tenant.show(answer)?;
        fabric.lock().list(tenant.id, answer)
    }

    fn end_one<D: Doorbell>(
        &mut self,
        now: Time,
        name: &str,
        then: Then,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Result<Done, String> {
        let nth = self.named(name)?;
        if then == Then::Stay && matches!(self.tenants[nth].state, State::Stopped(_) | State::Ended(_)) {
            return Err(format!("{name} does not run"));
        }
        self.end(now, nth, then, fabric)
    }

    /// Pulls or plugs a cable. That of a partition which does not run stays out.
    fn set_port<D: Doorbell>(
        &self,
        now: Time,
        place: Place,
        direction: LinkStatus,
        fabric: &Mutex<Fabric<D, R::Guest>>,
    ) -> Result<(), String> {
        let up = direction == LinkStatus::Up;
        let mut fabric = fabric.lock();
        match fabric.at_port(place)? {
            AtPort::Cable(physical) => fabric.set_link(physical, up),
            AtPort::Lhca(id) => {
                let stopped = self.tenants.iter().find(|tenant| tenant.id == id && !tenant.may_be_plugged());
                if let Some(tenant) = stopped.filter(|_| up) {
                    return Err(format!("{0} does not run: `start {0}` plugs it in", tenant.row.name()));
                }
                fabric.set_plugged(now, id, up);
            }
        }
        Ok(())
    }

    fn named(&self, name: &str) -> Result<usize, String> {
        self.find(name).ok_or_else(|| format!("cannot find the LHCA {name:?}: use a name that `list` shows"))
    }
}

impl<P: Run> Tenant<P> {
    /// How often its partition was left, if that runs.
    fn show_exits(&self, answer: &mut impl Write) -> fmt::Result {
        let State::Running(run) = &self.state else { return Ok(()) };
        let Some(Exits { doorbells, calls, halts, interrupts, others }) = run.exits() else { return Ok(()) };
        writeln!(answer, "{}", control_protocol::Exits { doorbells, calls, halts, interrupts, others })
    }
}

impl<P> Tenant<P> {
    /// Whether its partition runs, if it has one.
    fn may_be_plugged(&self) -> bool {
        matches!(self.state, State::None | State::Running(_))
    }

    fn show(&self, answer: &mut impl Write) -> fmt::Result {
        let Self { row, starts, state, .. } = self;
        let (state, because) = match state {
            State::None => (PartitionState::Absent, None),
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
        let qp0 = row.policy().qp0.to_string();
        writeln!(answer, "{}", Partition { state, program, qp0: &qp0, name: row.name().text() })?;
        because.map_or(Ok(()), |because| writeln!(answer, "{}", Record::Because(because)))
    }
}

/// What is left of an answer: lines, and the last one; or the last one alone, which says why.
///
/// # Errors
/// `answer` took no more.
pub fn tell(outcome: &Result<String, String>, answer: &mut impl Write) -> fmt::Result {
    match outcome {
        Ok(lines) => writeln!(answer, "{lines}{}", Ending::Done),
        Err(why) => writeln!(answer, "{}", Ending::Refused(why)),
    }
}

/// Unpacks a row of the partition table.
fn unpack(row: Row<'_>) -> Result<Lhca, String> {
    Lhca::parse(&row.bytes().collect::<Vec<_>>()).map_err(|error| error.to_string())
}
