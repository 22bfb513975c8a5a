//! Answers to `list` and `status` as the command shows them.

use anyhow::{Context, Result, bail};
use control_protocol::{AnswerLine, Cable, LinkStatus, Partition, Record};
use serde::Serialize;

/// State of a hypervisor's uplinks and LHCAs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct State {
    pub(super) hypervisor: String,
    pub(super) uplinks: Vec<Uplink>,
    pub(super) lhcas: Vec<Lhca>,
}

/// An uplink, and the logical switch behind it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Uplink {
    pub(super) number: u8,
    /// `true` if the physical link is up.
    pub(super) is_up: bool,
    pub(super) state: String,
    /// Of the logical switch.
    pub(super) guid: String,
    pub(super) lid: u16,
    /// Traffic of the physical port's queue pair 0.
    pub(super) qp0: Option<Qp0>,
}

/// Number of subnet management packets at the queue pair 0 of a physical port, by their way, since start.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Qp0 {
    /// Received from the cable.
    pub(super) received: u64,
    /// From aliased queue pairs 0 for a logical port or the logical switch.
    pub(super) looped_back: u64,
    /// From aliased queue pairs 0 for external ports.
    pub(super) routed_out: u64,
    /// Responses of the hypervisor's agent.
    pub(super) answered: u64,
    /// Handed to aliased queue pairs 0.
    pub(super) delivered: u64,
}

/// A logical HCA, and the partition that has it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lhca {
    pub(super) name: String,
    /// `running`, `stopped`, `ended`, or `none`.
    pub(super) partition: String,
    /// Why the partition does not run.
    pub(super) because: Option<String>,
    pub(super) program: Option<Program>,
    pub(super) ports: Vec<Port>,
}

/// Program of a partition.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Program {
    pub(super) image: String,
    /// In MiB.
    pub(super) memory: u32,
    pub(super) qp0: String,
    pub(super) starts: u32,
}

/// A logical port.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Port {
    pub(super) number: u8,
    /// The uplink whose logical switch it is at, and the switch's port.
    pub(super) at: (u8, u8),
    pub(super) guid: String,
    pub(super) lid: u16,
    pub(super) state: String,
    /// `true` if the cable is plugged.
    pub(super) is_plugged: bool,
    /// Why it is not Active.
    pub(super) because: Option<String>,
}

impl State {
    /// Reads the answers of `hypervisor` to `list` and `status`.
    ///
    /// # Errors
    /// A line is no record, or does not belong in the answer.
    pub(super) fn read(hypervisor: &str, list: &[String], status: &[String]) -> Result<Self> {
        let (mut uplinks, mut lhcas) = (Vec::<Uplink>::new(), Vec::<Lhca>::new());
        for line in status {
            match record(line)? {
                Record::Uplink(uplink) => uplinks.push(Uplink::new(&uplink)),
                Record::Qp0(qp0) => {
                    let uplink = uplinks.iter_mut().find(|uplink| uplink.number == qp0.uplink);
                    uplink.with_context(|| format!("unexpected uplink in {line:?}"))?.qp0 = Some(Qp0::new(&qp0));
                }
                _ => {}
            }
        }
        for line in list {
            match (record(line)?, lhcas.last_mut()) {
                (Record::Partition(partition), _) => lhcas.push(Lhca::new(&partition)),
                (Record::Because(reason), Some(lhca)) => lhca.set_reason(reason),
                (Record::Port(port), Some(lhca)) => lhca.ports.push(Port::new(&port)),
                _ => bail!("unexpected record {line:?}"),
            }
        }
        for lhca in &mut lhcas {
            lhca.advise();
        }
        Ok(Self { hypervisor: hypervisor.to_owned(), uplinks, lhcas })
    }

    /// Returns the place of the first port of the LHCA `name`: its uplink and its port of the logical switch.
    pub(super) fn place_of(&self, name: &str) -> Option<(u8, u8)> {
        let lhca = self.lhcas.iter().find(|lhca| lhca.name == name)?;
        Some(lhca.ports.first()?.at)
    }
}

/// Parses a record.
fn record(line: &str) -> Result<Record<'_>> {
    match AnswerLine::parse(line) {
        Ok(AnswerLine::Record(record)) => Ok(record),
        Ok(AnswerLine::End(_)) => bail!("unexpected ending {line:?}"),
        Err(error) => bail!("{error}"),
    }
}

impl Uplink {
    fn new(record: &control_protocol::Uplink) -> Self {
        Self {
            number: record.number,
            is_up: record.link == LinkStatus::Up,
            state: record.state.to_string(),
            guid: record.switch.to_string(),
            lid: record.lid,
            qp0: None,
        }
    }
}

impl Qp0 {
    fn new(record: &control_protocol::Qp0) -> Self {
        let control_protocol::Qp0 { uplink: _, received, looped_back, routed_out, answered, delivered } = *record;
        Self { received, looped_back, routed_out, answered, delivered }
    }
}

impl Lhca {
    fn new(record: &Partition<'_>) -> Self {
        let program = record.program.map(|program| Program {
            image: program.image.to_owned(),
            memory: program.memory,
            qp0: record.qp0.to_owned(),
            starts: program.starts,
        });
        let (name, partition) = (record.name.to_owned(), record.state.to_string());
        Self { name, partition, because: None, program, ports: Vec::new() }
    }

    /// Sets the reason of the last port, or of the partition before its ports.
    fn set_reason(&mut self, reason: &str) {
        let place = self.ports.last_mut().map_or(&mut self.because, |port| &mut port.because);
        *place = Some(reason.to_owned());
    }

    /// Sets the advice for ports that are down with their partition, or whose cable is out.
    fn advise(&mut self) {
        let Self { name, partition, because, ports, .. } = self;
        let why = match (partition.as_str(), because.as_deref()) {
            ("ended", how) => format!("its partition {}: ctl restart {name}", how.unwrap_or("ended")),
            ("stopped", None) => format!("its partition is stopped: ctl start {name}"),
            ("stopped", Some(how)) => format!("its partition cannot begin: {how}"),
            _ => format!("its cable is out: ctl port {name} up"),
        };
        let runs = matches!(partition.as_str(), "running" | "none");
        for port in ports.iter_mut().filter(|port| if runs { !port.is_plugged } else { port.state != "Active" }) {
            port.because = Some(why.clone());
        }
    }
}

impl Port {
    fn new(record: &control_protocol::Port) -> Self {
        Self {
            number: record.number,
            at: (record.at.uplink, record.at.port),
            guid: record.guid.to_string(),
            lid: record.lid,
            state: record.state.to_string(),
            is_plugged: record.cable == Cable::In,
            because: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    const STATUS: &str = "hca generation 1 ports 1
        uplink 1 link up state Active switch 0x026fb8f2d5ffff00 lid 3
        qp0 uplink 1 received 9 looped-back 1 routed-out 2 answered 8 delivered 3
        drops slots 0 undelivered 0 unsent 0";

    fn ports(list: &str, status: &str) -> Vec<Port> {
        State::read("h", &lines(list), &lines(status)).unwrap().lhcas.pop().unwrap().ports
    }

    #[test]
    fn what_the_kernel_says_is_understood() {
        let list = "partition running starts 3 memory 2 image echo qp0 none name web server
            port 1 at 1/2 guid 0x026fb8f2d5000101 lid 4 state Active cable in
            partition none qp0 none name adapter
            port 1 at 1/3 guid 0x0200000000001001 lid 5 state Active cable in";
        let state = State::read("portico-0", &lines(list), &lines(STATUS)).unwrap();
        assert_eq!((state.hypervisor.as_str(), state.uplinks.len()), ("portico-0", 1));
        assert!(state.uplinks[0].is_up && state.uplinks[0].state == "Active" && state.uplinks[0].lid == 3);
        let qp0 = Qp0 { received: 9, looped_back: 1, routed_out: 2, answered: 8, delivered: 3 };
        assert_eq!(state.uplinks[0].qp0, Some(qp0));
        let [web, adapter] = &state.lhcas[..] else { panic!("two") };
        assert_eq!((web.name.as_str(), web.partition.as_str()), ("web server", "running"));
        let program = Program { image: "echo".into(), memory: 2, qp0: "none".into(), starts: 3 };
        assert_eq!(web.program, Some(program));
        assert_eq!((web.ports[0].at, web.ports[0].lid, web.ports[0].is_plugged), ((1, 2), 4, true));
        assert_eq!(web.ports[0].because, None);
        assert_eq!((adapter.name.as_str(), &adapter.program), ("adapter", &None));
    }

    #[test]
    fn each_port_that_is_not_active_has_a_reason() {
        let words = "starts 1 memory 2 image echo qp0 none name web";
        let port = "port 1 at 1/2 guid 0x0000000000000002 lid 0 state Down cable out\nbecause its cable is out";
        let cases = [
            (format!("stopped {words}"), "its partition is stopped: ctl start web"),
            (format!("stopped {words}\nbecause no memory is free"), "its partition cannot begin: no memory is free"),
            (
                format!("ended {words}\nbecause crashed: triple fault"),
                "its partition crashed: triple fault: ctl restart web",
            ),
            (format!("running {words}"), "its cable is out: ctl port web up"),
            ("none qp0 none name web".into(), "its cable is out: ctl port web up"),
        ];
        for (partition, why) in cases {
            let ports = ports(&format!("partition {partition}\n{port}"), STATUS);
            assert_eq!(ports[0].because.as_deref(), Some(why), "{partition}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_the_line() {
        for bad in ["port 1 at 1/2 guid 0x0000000000000002 lid 4 state Active cable in", "partition running", "what 1"]
        {
            let error = State::read("h", &lines(bad), &lines(STATUS)).unwrap_err();
            assert!(format!("{error:#}").contains(bad), "{error:#}");
        }
    }
}
