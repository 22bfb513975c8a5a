//! What the control channel asks for; [`crate::control`] says in which words.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::{self, Write};

use hca_driver::Doorbell;
use lhca_contract::Exits;
use partition_table::Lhca;
use spin::Mutex;
use subnet::Time;

use super::{Done, Life, Run, Runner, State, Tenant, Then};
use crate::fabric::{AtPort, Fabric};

/// What can be asked for.
const HELP: &str = "say `list`, `status [NAME]`, `digest NAME`, `start NAME`, `stop NAME`, `restart NAME`, `add ROW`, \
                    `remove NAME`, or `port [UPLINK/]PORT down|up`";

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
        let (verb, object) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let done = match (verb, object.trim_start()) {
            ("list", "") => {
                self.list(fabric, answer)?;
                Ok(Done::Now)
            }
            ("status", "") => {
                fabric.lock().status(answer)?;
                writeln!(answer, "free memory {}", self.runner.free_memory())?;
                Ok(Done::Now)
            }
            ("status", name) => match self.named(name) {
                Ok(nth) => {
                    self.show(nth, fabric, answer)?;
                    fabric.lock().status_of(self.tenants[nth].id, answer)?;
                    self.tenants[nth].show_exits(answer)?;
                    Ok(Done::Now)
                }
                Err(why) => Err(why),
            },
            ("digest", name) => self.named(name).and_then(|nth| self.digest(nth)),
            ("port", words) => self.set_port(now, words, fabric).map(|()| Done::Now),
            ("start", name) => self.named(name).and_then(|nth| self.begin_one(now, nth, fabric)),
            ("stop", name) => self.end_one(now, name, Then::Stay, fabric),
            ("restart", name) => self.end_one(now, name, Then::BeginAgain, fabric),
            ("remove", name) => self.end_one(now, name, Then::Leave, fabric),
            ("add", digits) => row(digits).and_then(|row| self.add(now, row, fabric)),
            _ => Err(format!("unknown command: {HELP}")),
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
    fn set_port<D: Doorbell>(&self, now: Time, words: &str, fabric: &Mutex<Fabric<D, R::Guest>>) -> Result<(), String> {
        let (port, up) = match words.split_once(' ') {
            Some((port, "up")) => (port, true),
            Some((port, "down")) => (port, false),
            _ => return Err("say `port [UPLINK/]PORT down`, or `up`; 1 is the uplink".to_string()),
        };
        let mut fabric = fabric.lock();
        match fabric.at_port(port)? {
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
        self.find(name).ok_or_else(|| format!("there is no {name:?}: `list` names those that there are"))
    }
}

impl<P: Run> Tenant<P> {
    /// How often its partition was left, if that runs.
    fn show_exits(&self, answer: &mut impl Write) -> fmt::Result {
        let State::Running(run) = &self.state else { return Ok(()) };
        let Some(Exits { doorbells, calls, halts, interrupts, others }) = run.exits() else { return Ok(()) };
        writeln!(
            answer,
            "exits doorbells {doorbells} calls {calls} halts {halts} interrupts {interrupts} others {others}"
        )
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
            State::None => ("none", None),
            State::Stopped(why) => ("stopped", why.as_ref()),
            State::Running(_) => ("running", None),
            State::Ended(end) => ("ended", Some(end)),
        };
        write!(answer, "partition {state}")?;
        if let Some(program) = row.partition() {
            write!(answer, " starts {starts} memory {} image {}", program.memory, program.image)?;
        }
        writeln!(answer, " qp0 {} name {}", row.policy().qp0, row.name())?;
        because.map_or(Ok(()), |because| writeln!(answer, "because {because}"))
    }
}

/// What is left of an answer: lines, and the last one; or the last one alone, which says why.
///
/// # Errors
/// `answer` took no more.
pub fn tell(outcome: &Result<String, String>, answer: &mut impl Write) -> fmt::Result {
    match outcome {
        Ok(lines) => writeln!(answer, "{lines}ok"),
        Err(why) => writeln!(answer, "error: {why}"),
    }
}

/// The row of the table that hexadecimal digits spell.
fn row(digits: &str) -> Result<Lhca, String> {
    let mut bytes = [0; size_of::<Lhca>()];
    let pairs = digits.as_bytes().chunks(2);
    if digits.len() != 2 * bytes.len() {
        return Err(format!("a row has {} hexadecimal digits, and these are {}", 2 * bytes.len(), digits.len()));
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let pair = core::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
        *byte = pair
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            .ok_or("a row is hexadecimal digits, and these are not")?;
    }
    Lhca::parse(&bytes).map_err(|error| error.to_string())
}
