//! A subnet as one host sees it, as the netlist from which another simulator makes the same.

use iba::attr::PortInfo;

use crate::show::subnet::{self, Subnet};
use cable::Abilities;
use fabric::topology::{Kind, Node, Port, PortRef, Topology};

/// The topology of `subnet`. What is logical in it is a switch or a host like any other. Each node goes by its
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

/// What the link runs at; not what it could run at, which simulators make up.
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
    fn what_a_host_sees_is_what_was_made() {
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
            lent: Vec::new(),
            umad: Endpoint::Local(socket.clone()),
        })
        .unwrap();
        let seen = of(&Subnet::look(&mut Agent::attach(&socket, "H1").unwrap()).unwrap());
        assert_eq!(seen.to_string(), made.to_string());
        assert_eq!(seen, made);
    }
}
