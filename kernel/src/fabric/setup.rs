//! From the partition table to logical switches and LHCAs.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hca_driver::{Counters, Doorbell, Hca, MAX_PACKET, Port};
use iba::{Guid, PortNum};
use lhca_engine::{Guest, Logical};
use partition_table::{MAX_UPLINKS, Table};
use subnet::{
    AdapterConfig, AddError, ChannelAdapter, ConfigError, Hsma, HsmaOutlet, Key, LhcaId, LinkRequest, LogicalPort,
    NodeConfig, SwitchConfig, Time, UPLINK, UplinkId,
};
use thiserror::Error;

use super::limiter::Limiter;
use super::{Drops, Fabric, Uplink, uplink_id};

/// Entries in the P_Key table of each port of a logical switch: one block, as many as an LHCA's ports have.
const ENFORCED_PARTITIONS: u16 = 32;

/// Why a partition table cannot be made true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SetupError {
    /// A logical switch cannot be made.
    #[error("a logical switch cannot be made: {0}")]
    Switch(#[from] ConfigError),
    /// An LHCA cannot be made.
    #[error("a logical HCA cannot be made: {0}")]
    Lhca(#[from] AddError),
}

impl<D: Doorbell, G: Guest> Fabric<D, G> {
    /// The fabric that `table` describes, on `hca`. LHCAs without a partition are plugged in; the uplinks come up when the HCA says so.
    ///
    /// # Errors
    /// [`SetupError`] says what of the table cannot be made true.
    pub fn new(table: &Table<'_>, hca: Hca<D>, now: Time) -> Result<Self, SetupError> {
        let mut switches = Vec::new();
        let mut uplinks = Vec::new();
        // By physical port: its uplink's index, and the next free port of its logical switch.
        let mut places = [None; MAX_UPLINKS];
        for (physical, port) in (0..MAX_UPLINKS).zip(Port::ALL) {
            if let Some(guid) = table.switch_guid(physical) {
                let lhcas = table.lhcas().iter().filter(|lhca| lhca.uplinks.has(physical)).count();
                places[physical] = Some((uplink_id(switches.len()), UPLINK.get() + 1));
                switches.push(SwitchConfig {
                    node: NodeConfig::new(guid, table.name().text()),
                    ports: u8::try_from(lhcas + usize::from(UPLINK.get())).unwrap_or(u8::MAX),
                    enforced_partitions: ENFORCED_PARTITIONS,
                });
                uplinks.push(Uplink { port, up: false, told: Counters::default() });
            }
        }
        let mut hsma = Hsma::new(&switches)?;
        for lhca in table.lhcas() {
            let ports = lhca.uplinks.iter().filter_map(|physical| {
                let (uplink, next) = places[physical].as_mut()?;
                let port = PortNum::new(*next);
                *next = next.saturating_add(1);
                Some(LogicalPort { uplink: *uplink, port })
            });
            let ports: Vec<_> = ports.collect();
            let guids = (1..).map(|port| Guid::new(lhca.node_guid.get() + port)).take(ports.len());
            let node = NodeConfig::new(lhca.node_guid, lhca.name.text());
            let id = hsma.add(&AdapterConfig { node, port_guids: guids.collect() }, &ports)?;
            if lhca.partition().is_none() {
                hsma.plug(now, id, &mut Nowhere);
            }
        }
        let mut lines = Limiter::default();
        lines.info(
            now,
            format_args!("fabric ready: {}, {} LHCAs, {} uplinks", table.name(), table.lhcas().len(), uplinks.len()),
        );
        let logical = Logical::new(hsma);
        Ok(Self {
            hca,
            logical,
            uplinks,
            buffer: Box::new([0; MAX_PACKET]),
            drops: Drops::default(),
            lines,
            deadline: now,
        })
    }
}

/// Before the uplinks are up nothing can go anywhere.
struct Nowhere;

impl HsmaOutlet for Nowhere {
    fn transmit(&mut self, _: UplinkId, _: &[u8]) {}
    fn deliver(&mut self, _: LhcaId, _: &ChannelAdapter, _: PortNum, _: &[u8]) -> Result<(), Key> {
        Ok(())
    }
    fn link(&mut self, _: UplinkId, _: LinkRequest) {}
}
