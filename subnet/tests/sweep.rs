//! A subnet manager brings up the hypervisor's subnet, as if it were made of ordinary nodes.

#![allow(clippy::unwrap_used)] // helpers of tests may, as tests do

mod common;

use common::sm::Sm;
use common::{Fabric, HOST_PORT, UPLINK};
use iba::PortNum;
use iba::attr::{PortInfo, PortState};
use subnet::{Event, LhcaId};

fn bring_up(lhcas: u8, lmc: u8) {
    let mut fabric = Fabric::new(lhcas);
    let mut sm = Sm { lmc, ..Sm::default() };
    sm.sweep(&mut fabric);
    assert_eq!(sm.ends.len(), usize::from(lhcas) + 2, "the host, the logical switch and the adapters");
    let mut lids: Vec<u16> = sm.ends.values().map(|end| end.lid).collect();
    lids.sort_unstable();
    lids.dedup();
    assert_eq!(lids.len(), usize::from(lhcas) + 2, "each has a LID of its own");
    let switch = fabric.hsma.switch(UPLINK).unwrap();
    for port in 1..=lhcas + 1 {
        assert_eq!(switch.port_info(PortNum::new(port)).unwrap().port_state(), PortState::ACTIVE, "port {port}");
    }
    for &lhca in &fabric.lhcas {
        let adapter = fabric.hsma.lhca(lhca).unwrap();
        let info = adapter.port_info(HOST_PORT).unwrap();
        assert_eq!(info.port_state(), PortState::ACTIVE);
        assert_eq!(info.lid.get(), sm.lid(adapter.port_guid(HOST_PORT).unwrap()));
        assert_eq!(info.lmc(), lmc);
        for event in [Event::LidChange, Event::SmChange, Event::Active, Event::ClientReregister] {
            assert!(fabric.events.contains(&(lhca, HOST_PORT, event)), "{event:?} at {lhca:?}");
        }
    }
    // A second sweep changes nothing, and raises nothing.
    let before: Vec<_> = sm.ends.values().map(|end| (end.lid, end.path.clone())).collect();
    let infos = |fabric: &Fabric| -> Vec<PortInfo> {
        let info = |&lhca: &LhcaId| *fabric.hsma.lhca(lhca).unwrap().port_info(HOST_PORT).unwrap();
        fabric.lhcas.iter().map(info).collect()
    };
    let nodes = infos(&fabric);
    fabric.events.clear();
    sm.sweep(&mut fabric);
    assert_eq!(before, sm.ends.values().map(|end| (end.lid, end.path.clone())).collect::<Vec<_>>());
    assert_eq!(nodes, infos(&fabric));
    assert!(fabric.events.iter().all(|(_, _, event)| *event == Event::ClientReregister), "{:?}", fabric.events);
    assert!(fabric.links.is_empty(), "no link was touched");
}

#[test]
fn one_adapter_comes_up() {
    bring_up(1, 0);
}

#[test]
fn four_adapters_come_up() {
    bring_up(4, 0);
}

#[test]
fn as_many_adapters_as_a_switch_has_ports_come_up() {
    bring_up(253, 0);
}

#[test]
fn every_lmc_comes_up() {
    for lmc in 0..=7 {
        bring_up(5, lmc);
    }
}
