//! From the partition table to logical switches and LHCAs.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hca_driver::{Counters, Doorbell, Hca, MAX_PACKET, Port};
use iba::Guid;
use lhca_engine::{Guest, Logical};
use partition_table::{Lhca, MAX_UPLINKS, Table};
use subnet::{AdapterConfig, AddError, ConfigError, Hsma, LhcaId, NodeConfig, SwitchConfig, Time, UPLINK};
use thiserror::Error;

use super::limiter::Limiter;
use super::{Drops, Fabric, Uplink, uplink_id};

/// Entries in the P_Key table of each port of a logical switch: one block, as many as an LHCA's ports have.
const ENFORCED_PARTITIONS: u16 = 32;

/// Why a partition table, or a row of one, cannot be made true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SetupError {
    /// A logical switch cannot be made.
    #[error("a logical switch cannot be made: {0}")]
    Switch(#[from] ConfigError),
    /// An LHCA cannot be made.
    #[error("a logical HCA cannot be made: {0}")]
    Lhca(#[from] AddError),
    /// There is no logical switch for one of its ports.
    #[error("there is no logical switch behind uplink {0}: choose another uplink")]
    NoSwitch(usize),
    /// All ports of a logical switch are taken.
    #[error("no port of the logical switch behind uplink {0} is free: remove an LHCA, or boot with more spare ports")]
    NoPort(usize),
}

impl<D: Doorbell, G: Guest> Fabric<D, G> {
    /// The fabric that `table` describes, on `hca`. No LHCA is plugged in yet; the uplinks come up when the HCA says so.
    ///
    /// # Errors
    /// [`SetupError`] says what of the table cannot be made true.
    pub fn new(table: &Table<'_>, hca: Hca<D>, now: Time) -> Result<Self, SetupError> {
        let mut switches = Vec::new();
        let mut uplinks = Vec::new();
        for (physical, port) in (0..MAX_UPLINKS).zip(Port::ALL) {
            if let Some(guid) = table.switch_guid(physical) {
                let lhcas = table.lhcas().iter().filter(|lhca| lhca.uplinks().has(physical)).count();
                let ports = usize::from(UPLINK.get()) + lhcas + usize::from(table.spare_ports());
                switches.push(SwitchConfig {
                    node: NodeConfig::new(guid, table.name().text()),
                    ports: u8::try_from(ports).unwrap_or(u8::MAX),
                    enforced_partitions: ENFORCED_PARTITIONS,
                });
                uplinks.push(Uplink { port, up: false, told: Counters::default() });
            }
        }
        let mut fabric = Self {
            hca,
            logical: Logical::new(Hsma::new(&switches)?),
            uplinks,
            buffer: Box::new([0; MAX_PACKET]),
            drops: Drops::default(),
            lines: Limiter::default(),
            deadline: now,
        };
        for row in table.lhcas() {
            fabric.add(row)?;
        }
        let (lhcas, uplinks) = (table.lhcas().len(), fabric.uplinks.len());
        fabric.lines.info(now, format_args!("fabric ready: {}, {lhcas} LHCAs, {uplinks} uplinks", table.name()));
        Ok(fabric)
    }

    /// Adds the LHCA of `row` at the lowest free ports, without a partition and not plugged in.
    ///
    /// # Errors
    /// [`SetupError`] says why there cannot be one.
    pub fn add(&mut self, row: &Lhca) -> Result<LhcaId, SetupError> {
        let hsma = self.logical.hsma();
        let places = row.uplinks().iter().map(|physical| {
            let behind = |uplink: &Uplink| Port::ALL.get(physical) == Some(&uplink.port);
            let index = self.uplinks.iter().position(behind).ok_or(SetupError::NoSwitch(physical + 1))?;
            hsma.free_port(uplink_id(index)).ok_or(SetupError::NoPort(physical + 1))
        });
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let port_guids = (1..).map(|port| Guid::new(row.node_guid().get() + port)).take(places.len()).collect();
        let node = NodeConfig::new(row.node_guid(), row.name().text());
        Ok(self.logical.add(&AdapterConfig { node, port_guids }, &places)?)
    }
}
