//! A channel adapter.

use alloc::boxed::Box;
use alloc::vec::Vec;

use iba::attr::NodeType;
use iba::{Guid, PortNum};

use crate::body::Body;
use crate::config::{ConfigError, NodeConfig};
use crate::directed::NodeKind;
use crate::port::{Port, PortRole};
use crate::sampler::Sampler;
use crate::time::Time;

/// Configuration of a channel adapter.
#[derive(Clone, Debug)]
pub struct AdapterConfig {
    /// Configuration that all nodes have.
    pub node: NodeConfig,
    /// The GUID of each port, port 1's first; 1 to 254 ports.
    pub port_guids: Vec<Guid>,
}

/// A channel adapter: subnet management agent and performance management agent of its ports. Its queue pairs are the
/// consumers'.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelAdapter {
    pub(crate) body: Body,
}

impl ChannelAdapter {
    /// A channel adapter with all its links down.
    ///
    /// # Errors
    /// A GUID of 0, two ports with one GUID, or a number of ports that no adapter has.
    pub fn new(config: &AdapterConfig) -> Result<Self, ConfigError> {
        let guids = &config.port_guids;
        let ports = u8::try_from(guids.len()).ok().filter(|ports| (1..=254).contains(ports));
        let ports = ports.ok_or(ConfigError::Ports(guids.len()))?;
        if config.node.node_guid == Guid::default() || guids.contains(&Guid::default()) {
            return Err(ConfigError::ZeroGuid);
        }
        if let Some((_, &twice)) = guids.iter().enumerate().find(|(index, guid)| guids[..*index].contains(guid)) {
            return Err(ConfigError::DuplicateGuid(twice));
        }
        let port = |(guid, number)| Port::new(&config.node, PortRole::Adapter, PortNum::new(number), guid, 1);
        Ok(Self {
            body: Body {
                kind: NodeKind::ChannelAdapter,
                node_info: config.node.node_info(NodeType::CHANNEL_ADAPTER, ports),
                description: config.node.description,
                ports: guids.iter().copied().zip(1..=ports).map(port).collect::<Box<[_]>>(),
                relay: None,
                sampler: Sampler::default(),
                deadline: Time::NEVER,
                link_request: None,
            },
        })
    }

    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    pub(crate) fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }
}
