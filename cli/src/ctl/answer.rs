//! What the kernel answers to `list` and `status` (`kernel/src/control`), as values.

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// What a hypervisor lends, and how that is.
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
    /// Whether its physical link is up.
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

/// What a partition runs.
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
    /// Whether the partition, or the host, has it plugged in.
    pub(super) is_plugged: bool,
    /// Why it is not Active.
    pub(super) because: Option<String>,
}

impl State {
    /// The state that `list` and `status` tell of `hypervisor`.
    pub(super) fn read(hypervisor: &str, list: &[String], status: &[String]) -> Result<Self> {
        let uplinks = status.iter().filter(|line| line.starts_with("uplink ")).map(|line| Uplink::read(line));
        let mut uplinks = uplinks.collect::<Result<Vec<_>>>()?;
        for line in status.iter().filter(|line| line.starts_with("qp0 ")) {
            let number: u8 = Words(line).number("uplink")?;
            let uplink = uplinks.iter_mut().find(|uplink| uplink.number == number);
            uplink.with_context(|| format!("no such uplink: {line:?}"))?.qp0 = Some(Qp0::read(line)?);
        }
        let mut lhcas: Vec<Lhca> = Vec::new();
        for line in list {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            match (kind, lhcas.last_mut()) {
                ("partition", _) => lhcas.push(Lhca::read(line)?),
                ("because", Some(lhca)) => lhca.hear_because(rest),
                ("port", Some(lhca)) => lhca.ports.push(Port::read(line)?),
                _ => bail!("{line:?}"),
            }
        }
        for lhca in &mut lhcas {
            lhca.advise();
        }
        Ok(Self { hypervisor: hypervisor.to_owned(), uplinks, lhcas })
    }

    /// Where the first port of the LHCA `name` is, if there is one.
    pub(super) fn place_of(&self, name: &str) -> Option<(u8, u8)> {
        let lhca = self.lhcas.iter().find(|lhca| lhca.name == name)?;
        Some(lhca.ports.first()?.at)
    }
}

impl Uplink {
    fn read(line: &str) -> Result<Self> {
        let words = Words(line);
        let state = line.split_whitespace().nth(4).with_context(|| format!("no state in {line:?}"))?;
        Ok(Self {
            number: words.number("uplink")?,
            is_up: words.after("link")? == "up",
            state: state.to_owned(),
            guid: words.after("switch")?.to_owned(),
            lid: words.number("lid")?,
            qp0: None,
        })
    }
}

impl Qp0 {
    fn read(line: &str) -> Result<Self> {
        let words = Words(line);
        Ok(Self {
            received: words.number("received")?,
            looped_back: words.number("looped-back")?,
            routed_out: words.number("routed-out")?,
            answered: words.number("answered")?,
            delivered: words.number("delivered")?,
        })
    }
}

impl Lhca {
    fn read(line: &str) -> Result<Self> {
        let (line, name) = line.split_once(" name ").with_context(|| format!("no name in {line:?}"))?;
        let words = Words(line);
        let partition = words.after("partition")?.to_owned();
        let program = match partition.as_str() {
            "none" => None,
            _ => Some(Program {
                image: words.after("image")?.to_owned(),
                memory: words.number("memory")?,
                qp0: words.after("qp0")?.to_owned(),
                starts: words.number("starts")?,
            }),
        };
        Ok(Self { name: name.to_owned(), partition, because: None, program, ports: Vec::new() })
    }

    /// Takes a reason, which is that of what was told of last.
    fn hear_because(&mut self, why: &str) {
        let place = self.ports.last_mut().map_or(&mut self.because, |port| &mut port.because);
        *place = Some(why.to_owned());
    }

    /// Says of ports that are down with their partition, or whose cable is out, what to do.
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
    fn read(line: &str) -> Result<Self> {
        let words = Words(line);
        let at = words.after("at")?;
        let place = || at.split_once('/').and_then(|(uplink, port)| Some((uplink.parse().ok()?, port.parse().ok()?)));
        Ok(Self {
            number: words.number("port")?,
            at: place().with_context(|| format!("no place in {line:?}"))?,
            guid: words.after("guid")?.to_owned(),
            lid: words.number("lid")?,
            state: words.after("state")?.to_owned(),
            is_plugged: words.after("cable")? == "in",
            because: None,
        })
    }
}

/// A line of words, some of which are followed by a value.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn after(&self, word: &str) -> Result<&'a str> {
        let mut words = self.0.split_whitespace();
        let value = words.find(|&this| this == word).and_then(|_| words.next());
        value.with_context(|| format!("nothing after {word:?} in {:?}", self.0))
    }

    fn number<T: std::str::FromStr>(&self, word: &str) -> Result<T> {
        let text = self.after(word)?;
        text.parse().ok().with_context(|| format!("no number after {word:?} in {:?}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    const STATUS: &str = "hca generation 1 ports 1
        uplink 1 link up Active switch 0x026fb8f2d5ffff00 lid 3
        qp0 uplink 1 received 9 looped-back 1 routed-out 2 answered 8 delivered 3
        drops slots 0 undelivered 0 unsent 0";

    fn ports(list: &str, status: &str) -> Vec<Port> {
        State::read("h", &lines(list), &lines(status)).unwrap().lhcas.pop().unwrap().ports
    }

    #[test]
    fn what_the_kernel_says_is_understood() {
        let list = "partition running starts 3 memory 2 image echo qp0 none name web server
            port 1 at 1/2 guid 0x026fb8f2d5000101 lid 4 state Active cable in
            partition none name adapter
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
        let port = "port 1 at 1/2 guid 0x02 lid 0 state Down cable out\nbecause its cable is out";
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
        for bad in ["port 1 at 1/2 guid 0x02 lid 4 state Active cable in", "partition running", "what 1"] {
            let error = State::read("h", &lines(bad), &lines(STATUS)).unwrap_err();
            assert!(format!("{error:#}").contains(bad), "{error:#}");
        }
    }
}
