//! Setup of logical switches and LHCAs from the partition table.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hca_driver::{Doorbell, Hca, MAX_PACKET, Port};
use iba::Guid;
use lhca_engine::{Guest, LogicalFabric};
use partition_table::{Lhca, MAX_UPLINKS, Table};
use subnet::{AdapterConfig, AddError, ConfigError, Hsma, LhcaId, NodeConfig, SwitchConfig, Time, UPLINK};
use thiserror::Error;

use super::Fabric;
use super::drops::Drops;
use super::limiter::Limiter;
use super::uplink::{Uplink, uplink_id};

/// Number of entries in the P_Key table of each port of a logical switch: one block, as for the ports of an LHCA.
const ENFORCED_PARTITIONS: u16 = 32;

/// Error for a partition table, or a row of one, that cannot be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SetupError {
    /// The HSMA refuses a logical switch.
    #[error("cannot create a logical switch: {0}")]
    Switch(#[from] ConfigError),
    /// The HSMA refuses an LHCA.
    #[error("cannot create a logical HCA: {0}")]
    Lhca(#[from] AddError),
    /// The uplink of this number, from 1, has no logical switch.
    #[error("cannot use uplink {0}: it has no logical switch; choose another uplink")]
    NoSwitch(usize),
    /// The logical switch behind the uplink of this number, from 1, has no free port.
    #[error("cannot add an LHCA at uplink {0}: all ports are taken; remove an LHCA, or boot with more spare ports")]
    NoPort(usize),
}

impl<D: Doorbell, G: Guest> Fabric<D, G> {
    /// Creates the fabric of `table` on `hca`. The LHCAs are unplugged and the uplinks down.
    ///
    /// # Errors
    /// [`SetupError`] if a logical switch or an LHCA of the table cannot be created.
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
                uplinks.push(Uplink::new(port));
            }
        }
        let mut fabric = Self {
            hca,
            logical: LogicalFabric::new(Hsma::new(&switches)?),
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

    /// Adds the LHCA of `row` at the lowest free ports, unplugged and without a partition.
    ///
    /// # Errors
    /// [`SetupError`] if a port is missing or the HSMA refuses the LHCA.
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
