//! Records: the lines of an answer that carry values.

use core::fmt;
use core::str::{FromStr, Split};

use crate::error::UnknownLine;
use crate::place::Place;
use crate::value::{Cable, Checksum, Guid, LinkStatus, PartitionState, PortState};

/// Declares records: the first word of the line where no field gives it, then each field's word and value.
macro_rules! records {
    ($($(#[$doc:meta])* $name:ident $($kind:literal)? {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $word:literal,)*
    })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            fn parse(line: &str) -> Option<Self> {
                let mut words = line.split(' ');
                $(expect(&mut words, $kind)?;)?
                let record = Self { $($field: value(&mut words, $word)?,)* };
                words.next().is_none().then_some(record)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut words = Words { f, gap: "" };
                $(words.kind($kind)?;)?
                $(words.field($word, &self.$field)?;)*
                Ok(())
            }
        }
    )* };
}

records! {
    /// Version of the grammar.
    Version {
        /// [`crate::VERSION`] of the hypervisor.
        version: u32 = "version",
    }

    /// Port of an LHCA.
    Port {
        /// Number of the LHCA's port, from 1.
        number: u8 = "port",
        /// Port of the logical switch that it is cabled to.
        at: Place = "at",
        /// GUID of the port.
        guid: Guid = "guid",
        /// LID of the port, 0 before an SM assigns one.
        lid: u16 = "lid",
        /// State of the port.
        state: PortState = "state",
        /// State of its cable.
        cable: Cable = "cable",
    }

    /// Physical HCA. The line is `hca absent` without one: [`Record::HcaAbsent`].
    Hca "hca" {
        /// Generation of the device.
        generation: u32 = "generation",
        /// Number of physical ports.
        ports: u16 = "ports",
    }

    /// Uplink and the logical switch behind it.
    Uplink {
        /// Number of the uplink, from 1.
        number: u8 = "uplink",
        /// State of the physical link.
        link: LinkStatus = "link",
        /// State of the logical switch's port 1.
        state: PortState = "state",
        /// Node GUID of the logical switch.
        switch: Guid = "switch",
        /// LID of the logical switch, 0 before an SM assigns one.
        lid: u16 = "lid",
    }

    /// Number of subnet management packets at the queue pair 0 of a physical port, by route, since start.
    Qp0 "qp0" {
        /// Number of the uplink, from 1.
        uplink: u8 = "uplink",
        /// Received from the cable.
        received: u64 = "received",
        /// From aliased queue pairs 0 to a logical port or the logical switch.
        looped_back: u64 = "looped-back",
        /// From aliased queue pairs 0 to external ports.
        routed_out: u64 = "routed-out",
        /// Responses of the hypervisor's agents.
        answered: u64 = "answered",
        /// Delivered to aliased queue pairs 0.
        delivered: u64 = "delivered",
    }

    /// Number of packets dropped by the hypervisor since start, by reason; saturating.
    Drops "drops" {
        /// Receive slots with invalid contents.
        slots: u64 = "slots",
        /// Packets without a consumer.
        undelivered: u64 = "undelivered",
        /// Packets for which there was no device or no send slot.
        unsent: u64 = "unsent",
    }

    /// Number of datagrams dropped at the LHCA of a running partition, by reason; saturating.
    LhcaDrops "lhca-drops" {
        /// Management packets that the partition's policy refuses.
        refused: u64 = "refused",
        /// Datagrams for a queue pair that does not exist.
        no_queue_pair: u64 = "no-queue-pair",
        /// Datagrams without a receive request or completion entry.
        no_room: u64 = "no-room",
        /// Datagrams with a wrong Q_Key.
        bad_key: u64 = "bad-key",
    }

    /// Number of free slots in the rings of an uplink; absent without an HCA.
    ///
    /// A free receive slot is one credit of the link partner; a send slot is free again when its packet has left.
    Credits "credits" {
        /// Number of the uplink, from 1.
        uplink: u8 = "uplink",
        /// Send ring of queue pair 0.
        qp0_send: u32 = "qp0-send",
        /// Receive ring of queue pair 0.
        qp0_receive: u32 = "qp0-receive",
        /// Send ring of all other packets.
        packet_send: u32 = "packet-send",
        /// Receive ring of all other packets.
        packet_receive: u32 = "packet-receive",
    }

    /// Number of objects that partitions hold: of all LHCAs, or of one.
    HeldObjects "held" {
        /// Attached LHCAs.
        lhcas: usize = "lhcas",
        /// Queue pairs.
        queue_pairs: usize = "queue-pairs",
        /// Completion queues.
        completion_queues: usize = "completion-queues",
        /// Event queues.
        event_queues: usize = "event-queues",
        /// Memory regions.
        memory_regions: usize = "memory-regions",
        /// Attachments of queue pairs to multicast groups.
        attachments: usize = "attachments",
    }

    /// Free memory of the machine.
    FreeMemory "free" {
        /// Bytes.
        memory: u64 = "memory",
    }

    /// Number of VM exits of a running partition since its start, by reason; wrapping.
    Exits "exits" {
        /// Doorbells.
        doorbells: u64 = "doorbells",
        /// Other hypercalls.
        calls: u64 = "calls",
        /// Halts.
        halts: u64 = "halts",
        /// Interrupts of the processor.
        interrupts: u64 = "interrupts",
        /// All other reasons.
        others: u64 = "others",
    }

    /// Digest of a partition's memory, taken while the partition runs.
    Digest {
        /// CRC-64/XZ of the memory.
        checksum: Checksum = "digest",
        /// Size of the memory in bytes.
        bytes: u64 = "bytes",
    }
}

/// LHCA and its partition. Its ports follow as [`Port`] records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition<'a> {
    /// State of the partition.
    pub state: PartitionState,
    /// Program of the partition; absent if the state is [`PartitionState::Absent`].
    pub program: Option<Program<'a>>,
    /// Policy for queue pair 0: `none`, `query` or `manager`.
    pub qp0: &'a str,
    /// Name of the LHCA.
    pub name: &'a str,
}

/// Program of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    /// Number of starts since the LHCA was added.
    pub starts: u32,
    /// Size of the memory in MiB.
    pub memory: u32,
    /// Name of the image.
    pub image: &'a str,
}

impl<'a> Partition<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (line, name) = line.split_once(" name ")?;
        let mut words = line.split(' ');
        let state = value(&mut words, "partition")?;
        let program = match state {
            PartitionState::Absent => None,
            _ => Some(Program {
                starts: value(&mut words, "starts")?,
                memory: value(&mut words, "memory")?,
                image: text(&mut words, "image")?,
            }),
        };
        let qp0 = text(&mut words, "qp0")?;
        words.next().is_none().then_some(Self { state, program, qp0, name })
    }
}

impl fmt::Display for Partition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, program, qp0, name } = self;
        write!(f, "partition {state}")?;
        if let Some(Program { starts, memory, image }) = program {
            write!(f, " starts {starts} memory {memory} image {image}")?;
        }
        write!(f, " qp0 {qp0} name {name}")
    }
}

/// Declares the enum of all records.
macro_rules! record_enum {
    ($($(#[$doc:meta])* $variant:ident($type:ty) = $word:literal,)*) => {
        /// Record of an answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Record<'a> {
            /// No physical HCA is present.
            HcaAbsent,
            /// Reason why the preceding partition does not run or the preceding port is not Active, one line of text.
            Because(&'a str),
            $($(#[$doc])* $variant($type),)*
        }

        impl<'a> Record<'a> {
            /// Parses a line without its line feed.
            pub(crate) fn parse(line: &'a str) -> Result<Self, UnknownLine<'a>> {
                let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
                let record = match kind {
                    "hca" if rest == "absent" => Some(Self::HcaAbsent),
                    "because" => Some(Self::Because(rest)),
                    $($word => <$type>::parse(line).map(Self::$variant),)*
                    _ => None,
                };
                record.ok_or(UnknownLine(line))
            }
        }

        impl fmt::Display for Record<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::HcaAbsent => f.write_str("hca absent"),
                    Self::Because(reason) => write!(f, "because {reason}"),
                    $(Self::$variant(record) => record.fmt(f),)*
                }
            }
        }
    };
}

record_enum! {
    /// Version of the grammar.
    Version(Version) = "version",
    /// LHCA and its partition.
    Partition(Partition<'a>) = "partition",
    /// Port of the preceding LHCA.
    Port(Port) = "port",
    /// Physical HCA.
    Hca(Hca) = "hca",
    /// Uplink.
    Uplink(Uplink) = "uplink",
    /// Traffic of queue pair 0 of an uplink.
    Qp0(Qp0) = "qp0",
    /// Packets dropped by the hypervisor.
    Drops(Drops) = "drops",
    /// Datagrams dropped at one LHCA.
    LhcaDrops(LhcaDrops) = "lhca-drops",
    /// Free slots of an uplink.
    Credits(Credits) = "credits",
    /// Objects that partitions hold.
    HeldObjects(HeldObjects) = "held",
    /// Free memory.
    FreeMemory(FreeMemory) = "free",
    /// VM exits of one partition.
    Exits(Exits) = "exits",
    /// Digest of a partition's memory.
    Digest(Digest) = "digest",
}

/// Writes words with one space between them.
struct Words<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    gap: &'static str,
}

impl Words<'_, '_> {
    fn kind(&mut self, kind: &str) -> fmt::Result {
        self.gap = " ";
        self.f.write_str(kind)
    }

    fn field(&mut self, word: &str, value: &impl fmt::Display) -> fmt::Result {
        write!(self.f, "{}{word} {value}", self.gap)?;
        self.gap = " ";
        Ok(())
    }
}

fn expect<'a>(words: &mut Split<'a, char>, word: &str) -> Option<()> {
    (words.next()? == word).then_some(())
}

fn text<'a>(words: &mut Split<'a, char>, word: &str) -> Option<&'a str> {
    expect(words, word)?;
    words.next().filter(|text| !text.is_empty())
}

fn value<T: FromStr>(words: &mut Split<'_, char>, word: &str) -> Option<T> {
    text(words, word)?.parse().ok()
}
