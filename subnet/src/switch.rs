//! A switch.

use alloc::boxed::Box;

use iba::attr::{CapabilityMask, NodeType};
use iba::lrh::Lrh;
use iba::{Guid, PortNum};

use crate::body::Body;
use crate::config::{ConfigError, NodeConfig};
use crate::directed::NodeKind;
use crate::port::{Port, PortRole};
use crate::relay::{Relay, Route};
use crate::sampler::Sampler;
use crate::time::Time;

/// Configuration of a switch.
#[derive(Clone, Debug)]
pub struct SwitchConfig {
    /// Configuration that all nodes have. The GUID is its management port's, too.
    pub node: NodeConfig,
    /// Number of its ports, 1 to 254; the management port is not counted.
    pub ports: u8,
    /// Entries in the P_Key table of each port, against which packets that pass can be checked, rounded up to
    /// whole blocks of 32. 0 means that they cannot: then a manager has no tables of ports to keep.
    pub enforced_partitions: u16,
}

/// A switch: relay, subnet management agent and performance management agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch {
    pub(crate) body: Body,
}

impl Switch {
    /// A switch with all its links down.
    ///
    /// # Errors
    /// A GUID of 0, or a number of ports that no switch has.
    pub fn new(config: &SwitchConfig) -> Result<Self, ConfigError> {
        if config.node.node_guid == Guid::default() {
            return Err(ConfigError::ZeroGuid);
        }
        if !(1..=254).contains(&config.ports) {
            return Err(ConfigError::Ports(config.ports.into()));
        }
        let inputs = usize::from(config.ports) + 1;
        let external = NodeConfig { partitions: config.enforced_partitions, ..config.node.clone() };
        let port = |number: u8| {
            let (config, role) =
                if number == 0 { (&config.node, PortRole::Management) } else { (&external, PortRole::External) };
            Port::new(config, role, PortNum::new(number), config.node_guid, inputs)
        };
        let mut ports = (0..=config.ports).map(port).collect::<Box<[_]>>();
        if config.enforced_partitions > 0 {
            let mask = ports[0].info.capability_mask() | CapabilityMask::P_KEY_SWITCH_EXTERNAL_PORT_TRAP;
            ports[0].info.set_capability_mask(mask);
        }
        Ok(Self {
            body: Body {
                kind: NodeKind::Switch,
                node_info: config.node.node_info(NodeType::SWITCH, config.ports),
                description: config.node.description,
                ports,
                relay: Some(Box::new(Relay::new(config.ports, config.enforced_partitions))),
                sampler: Sampler::default(),
                deadline: Time::NEVER,
                link_request: None,
            },
        })
    }

    /// Where a packet with this header goes that came in by `port`. Its cost does not depend on the number of ports.
    #[inline]
    #[must_use]
    pub fn route(&self, port: PortNum, lrh: &Lrh) -> Route {
        self.body.route(port, lrh)
    }

    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    pub(crate) fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }
}
