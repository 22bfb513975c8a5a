//! Requests of the control line.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

use control_protocol::{Ending, FreeMemory, LinkStatus, Place, Request, Row, Version};
use hca_driver::Doorbell;
use partition_table::Lhca;
use subnet::Time;

use super::factory::PartitionFactory;
use super::managed_partition::State;
use super::partition_manager::{AfterEnd, Answer, Completion, PartitionManager};
use crate::fabric::AtPort;

impl<D: Doorbell, F: PartitionFactory> PartitionManager<D, F> {
    /// Executes the request in `line` and writes its answer to `answer`. If [`Self::is_waiting`] afterwards,
    /// [`Self::poll`] returns the answer later.
    ///
    /// # Errors
    /// `answer` is full.
    pub fn handle_request(&mut self, now: Time, line: &str, answer: &mut impl Write) -> fmt::Result {
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(error) => return write_answer(&Err(error.to_string()), answer),
        };
        match self.execute(now, request, answer)? {
            Ok(Completion::Now) => write_answer(&Ok(String::new()), answer),
            Ok(Completion::Later) => Ok(()),
            Err(why) => write_answer(&Err(why), answer),
        }
    }

    /// Executes a request, and writes the lines of its answer but for the last.
    fn execute(
        &mut self,
        now: Time,
        request: Request<'_>,
        answer: &mut impl Write,
    ) -> Result<Result<Completion, String>, fmt::Error> {
        Ok(match request {
            Request::Version => {
                writeln!(answer, "{}", Version { version: control_protocol::VERSION })?;
                Ok(Completion::Now)
            }
            Request::List => {
                (0..self.partitions.len()).try_for_each(|index| self.show(index, answer))?;
                Ok(Completion::Now)
            }
            Request::Status => {
                self.fabric.lock().status(answer)?;
                writeln!(answer, "{}", FreeMemory { memory: self.factory.free_memory() })?;
                Ok(Completion::Now)
            }
            Request::LhcaStatus(name) => match self.named(name) {
                Ok(index) => {
                    self.show(index, answer)?;
                    self.fabric.lock().status_of(self.partitions[index].id, answer)?;
                    self.partitions[index].show_exits(answer)?;
                    Ok(Completion::Now)
                }
                Err(why) => Err(why),
            },
            Request::Digest(name) => self.named(name).and_then(|index| self.digest(index)),
            Request::Port(place, direction) => self.set_port(now, place, direction).map(|()| Completion::Now),
            Request::Start(name) => self.named(name).and_then(|index| self.start(now, index)),
            Request::Stop(name) => self.stop(now, name),
            Request::Restart(name) => self.named(name).and_then(|index| self.end(now, index, AfterEnd::Restart)),
            Request::Remove(name) => self.named(name).and_then(|index| self.end(now, index, AfterEnd::Remove)),
            Request::Add(row) => unpack(row).and_then(|row| self.add(now, row)),
        })
    }

    /// Writes the records of a partition and its ports.
    fn show(&self, index: usize, answer: &mut impl Write) -> fmt::Result {
        let partition = &self.partitions[index];
        partition.show(answer)?;
        self.fabric.lock().list(partition.id, answer)
    }

    fn stop(&mut self, now: Time, name: &str) -> Result<Completion, String> {
        let index = self.named(name)?;
        match self.partitions[index].state {
            State::Stopped(_) | State::Ended(_) => Err(format!("{name} does not run")),
            State::Absent | State::Running(_) => self.end(now, index, AfterEnd::Stay),
        }
    }

    /// Unplugs or plugs a cable. That of a partition which does not run stays unplugged.
    fn set_port(&self, now: Time, place: Place, direction: LinkStatus) -> Result<(), String> {
        let up = direction == LinkStatus::Up;
        let mut fabric = self.fabric.lock();
        match fabric.at_port(place)? {
            AtPort::Cable(physical) => fabric.set_link(physical, up),
            AtPort::Lhca(id) => {
                let stopped = self.partitions.iter().find(|other| other.id == id && !other.may_be_plugged());
                if let Some(partition) = stopped.filter(|_| up) {
                    return Err(format!("{0} does not run: `start {0}` plugs it in", partition.row.name()));
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

/// Writes the rest of an answer: its lines and its last line, or the last line with the reason of the refusal.
///
/// # Errors
/// `answer` is full.
pub fn write_answer(outcome: &Answer, answer: &mut impl Write) -> fmt::Result {
    match outcome {
        Ok(lines) => writeln!(answer, "{lines}{}", Ending::Done),
        Err(why) => writeln!(answer, "{}", Ending::Refused(why)),
    }
}

/// Unpacks a row of the partition table.
fn unpack(row: Row<'_>) -> Result<Lhca, String> {
    Lhca::parse(&row.bytes().collect::<Vec<_>>()).map_err(|error| error.to_string())
}
