//! Writer of netlists, in the format that ibnetdiscover prints and ibsim reads.

use std::fmt::{Display, Formatter, Result};

use super::{Kind, Node, Port, Topology};
use cable::Abilities;

impl Display for Topology {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (index, node) in self.nodes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            header(f, node)?;
            for (port, number) in node.ports.iter().zip(1..) {
                self.cable(f, number, port)?;
            }
        }
        Ok(())
    }
}

impl Topology {
    fn cable(&self, f: &mut Formatter<'_>, number: usize, port: &Port) -> Result {
        let Some(peer) = port.peer else {
            return Ok(());
        };
        write!(f, "[{number}]\t\"{}\"[{}]", self.nodes[peer.node].id, peer.port)?;
        let Abilities { widths, speeds, speeds_ext } = port.abilities;
        writeln!(f, "\tw={widths} s={speeds} e={speeds_ext}")
    }
}

fn header(f: &mut Formatter<'_>, node: &Node) -> Result {
    if let Some(vendor_id) = node.vendor_id {
        writeln!(f, "vendid={vendor_id:#x}")?;
    }
    if let Some(device_id) = node.device_id {
        writeln!(f, "devid={device_id:#x}")?;
    }
    writeln!(f, "sysimgguid={:#x}", node.system_image_guid.get())?;
    let (guid, kind) = match node.kind {
        Kind::Switch => ("switchguid", "Switch"),
        Kind::Host | Kind::Hypervisor => ("caguid", "Ca"),
    };
    writeln!(f, "{guid}={:#x}", node.guid.get())?;
    writeln!(f, "{kind}\t{} \"{}\"\t\t# \"{}\"", node.ports.len(), node.id, node.description)
}
