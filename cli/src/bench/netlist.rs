//! Topology of a subnet that one host discovered, as a netlist for another simulator.

use iba::attr::PortInfo;

use crate::show::subnet::{self, Subnet};
use cable::Abilities;
use fabric::topology::{Kind, Node, Port, PortRef, Topology};

/// Returns the topology of `subnet`. Logical nodes are switches and hosts like any other. The id of a node is its
/// description.
pub(super) fn of(subnet: &Subnet) -> Topology {
    Topology { nodes: subnet.nodes.iter().map(node).collect() }
}

fn node(node: &subnet::Node) -> Node {
    let subnet::Node { info, description, ports } = node;
    let unplugged = Port { peer: None, abilities: Abilities::default() };
    let mut all = vec![unplugged; info.num_ports.into()];
    for port in ports {
        let slot = usize::from(port.number.get()).checked_sub(1).and_then(|index| all.get_mut(index));
        if let (Some(slot), Some((node, peer))) = (slot, port.peer) {
            *slot = Port { peer: Some(PortRef { node, port: peer }), abilities: abilities(&port.info) };
        }
    }
    Node {
        kind: if node.is_switch() { Kind::Switch } else { Kind::Host },
        id: description.to_string(),
        description: description.to_string(),
        guid: info.node_guid,
        system_image_guid: info.system_image_guid,
        vendor_id: None,
        device_id: None,
        ports: all,
    }
}

/// Returns the active width and speed of the link; simulators derive the supported ones.
fn abilities(info: &PortInfo) -> Abilities {
    Abilities {
        widths: info.link_width_active.bits(),
        speeds: info.link_speed_active().bits(),
        speeds_ext: info.link_speed_ext_active().bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::agent::Agent;
    use fabric::{Config, Fabric};
    use umad_server::Endpoint;

    #[test]
    fn topology_of_a_discovered_subnet_equals_the_configured_one() {
        let made = Topology::parse(
            r#"
            Ca 1 "H1"
            [1] "S1"[3] w=2 s=4 e=2

            Switch 4 "S1"
            [3] "H1"[1] w=2 s=4 e=2
            [1] "S2"[2] w=1 s=4 e=1

            Switch 2 "S2"
            [2] "S1"[1] w=1 s=4 e=1
            "#,
        )
        .unwrap();
        let socket = format!("netlist-test-{}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let _fabric = Fabric::start(Config {
            topology: made.clone(),
            folder: folder.path().to_owned(),
            capture: None,
            bridges: Vec::new(),
            umad: Endpoint::Local(socket.clone()),
        })
        .unwrap();
        let seen = of(&Subnet::discover(&mut Agent::attach(&socket, "H1").unwrap()).unwrap());
        assert_eq!(seen.to_string(), made.to_string());
        assert_eq!(seen, made);
    }
}
