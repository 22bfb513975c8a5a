//! Hypercalls on the objects of one LHCA.

use alloc::sync::Arc;

use iba::PortNum;
use lhca_contract::ring::MAX_LOG_ENTRIES;
use lhca_contract::{
    Access, Call, Handle, HcaAttributes, MemoryRegion, MulticastGroup, PortAttributes, QueueConfig,
    QueuePairAttributes, QueuePairChange, QueuePairConfig, QueuePairKind, Status,
};
use subnet::ChannelAdapter;

use crate::guest::{Guest, get, put};
use crate::lhca::Lhca;
use crate::limits::{MAX_COMPLETION_QUEUES, MAX_GROUPS, MAX_QUEUE_PAIRS, MAX_REGIONS, P_KEYS};
use crate::objects::{Completions, EventQueue, Queue, QueuePair};

impl<G: Guest> Lhca<G> {
    /// Executes a hypercall and returns its value.
    ///
    /// # Errors
    /// The status for the partition.
    pub(crate) fn call(&mut self, call: Call, arguments: [u64; 3], adapter: &ChannelAdapter) -> Result<u64, Status> {
        let [first, second, _] = arguments;
        match call {
            Call::QUERY_HCA => put(&self.guest, first, &attributes(adapter)).map(|()| 0),
            Call::QUERY_PORT => put(&self.guest, second, &port(adapter, first)?).map(|()| 0),
            Call::QUERY_P_KEY => p_key(adapter, first, second),
            Call::QUERY_GUID => guid(adapter, first, second),
            Call::CREATE_COMPLETION_QUEUE => self.create_completion_queue(first),
            Call::DESTROY_COMPLETION_QUEUE => self.destroy_completion_queue(handle(first)?),
            Call::CREATE_EVENT_QUEUE => self.create_event_queue(first),
            Call::DESTROY_EVENT_QUEUE => done(self.event_queues.remove(handle(first)?)),
            Call::CREATE_QUEUE_PAIR => self.create_queue_pair(first, adapter),
            Call::MODIFY_QUEUE_PAIR => self.modify_queue_pair(handle(first)?, second),
            Call::QUERY_QUEUE_PAIR => self.query_queue_pair(handle(first)?, second),
            Call::DESTROY_QUEUE_PAIR => self.destroy_queue_pair(handle(first)?),
            Call::ATTACH_MULTICAST => self.attach(handle(first)?, second),
            Call::DETACH_MULTICAST => self.detach(handle(first)?, second),
            Call::REGISTER_MEMORY => self.register(first),
            Call::DEREGISTER_MEMORY => done(self.regions.remove(handle(first)?)),
            _ => Err(Status::UNKNOWN_CALL),
        }
    }

    fn create_completion_queue(&mut self, address: u64) -> Result<u64, Status> {
        let config: QueueConfig = get(&self.guest, address)?;
        created(self.completion_queues.insert(Arc::new(Queue::new(&self.guest, &config)?)))
    }

    fn destroy_completion_queue(&mut self, handle: u32) -> Result<u64, Status> {
        let uses = |pair: &QueuePair<G>| {
            [pair.config.send_completions, pair.config.receive_completions].contains(&Handle(handle))
        };
        if self.pairs.values().any(uses) {
            return Err(Status::BUSY);
        }
        done(self.completion_queues.remove(handle))
    }

    fn create_event_queue(&mut self, address: u64) -> Result<u64, Status> {
        let config: QueueConfig = get(&self.guest, address)?;
        if self.event_queues.values().next().is_some() {
            return Err(Status::EXISTS);
        }
        created(self.event_queues.insert(EventQueue { queue: Queue::new(&self.guest, &config)?, overrun: false }))
    }

    fn create_queue_pair(&mut self, address: u64, adapter: &ChannelAdapter) -> Result<u64, Status> {
        let config: QueuePairConfig = get(&self.guest, address)?;
        let port = PortNum::new(config.port);
        adapter.port_info(port).ok_or(Status::BAD_PORT)?;
        let queue = |queue: Handle| self.completion_queues.get(queue.0).cloned().ok_or(Status::BAD_HANDLE);
        let completions =
            Completions { send: queue(config.send_completions)?, receive: queue(config.receive_completions)? };
        let pair = QueuePair::new(&self.guest, config, completions)?;
        let is_ud = config.kind == QueuePairKind::UD;
        let uds = self.pairs.values().filter(|pair| pair.config.kind == QueuePairKind::UD).count();
        if is_ud && uds >= MAX_QUEUE_PAIRS.into() {
            return Err(Status::NO_RESOURCES);
        }
        if self.alias(port, config.kind).is_some_and(|alias| alias.is_some()) {
            return Err(Status::EXISTS);
        }
        let handle = self.pairs.insert(pair).ok_or(Status::NO_RESOURCES)?;
        if let Some(alias) = self.alias(port, config.kind) {
            *alias = Some(handle);
        }
        let number = self.pairs.get(handle).map_or(0, |pair| pair.number(handle).get());
        Ok(u64::from(number) << 32 | u64::from(handle))
    }

    fn modify_queue_pair(&mut self, handle: u32, address: u64) -> Result<u64, Status> {
        let pair = self.pairs.get_mut(handle).ok_or(Status::BAD_HANDLE)?;
        let change: QueuePairChange = get(&self.guest, address)?;
        self.changes += 1;
        pair.modify(&change).map(|()| 0)
    }

    fn query_queue_pair(&self, handle: u32, address: u64) -> Result<u64, Status> {
        let pair = self.pairs.get(handle).ok_or(Status::BAD_HANDLE)?;
        let attributes = QueuePairAttributes {
            config: pair.config,
            number: pair.number(handle),
            state: pair.state,
            p_key_index: pair.p_key_index,
            q_key: pair.q_key,
            ..QueuePairAttributes::default()
        };
        put(&self.guest, address, &attributes).map(|()| 0)
    }

    fn destroy_queue_pair(&mut self, handle: u32) -> Result<u64, Status> {
        let pair = self.pairs.remove(handle).ok_or(Status::BAD_HANDLE)?;
        if let Some(alias) = self.alias(pair.port(), pair.config.kind) {
            *alias = None;
        }
        self.changes += 1;
        Ok(0)
    }

    fn attach(&mut self, handle: u32, address: u64) -> Result<u64, Status> {
        let group = self.group(address)?;
        let pair = self.datagram_pair(handle)?;
        if pair.groups.contains(&group) {
            return Err(Status::EXISTS);
        }
        if pair.groups.len() == usize::from(MAX_GROUPS) {
            return Err(Status::NO_RESOURCES);
        }
        pair.groups.push(group);
        Ok(0)
    }

    fn detach(&mut self, handle: u32, address: u64) -> Result<u64, Status> {
        let group = self.group(address)?;
        let pair = self.datagram_pair(handle)?;
        let place = pair.groups.iter().position(|other| *other == group).ok_or(Status::BAD_ARGUMENT)?;
        pair.groups.swap_remove(place);
        Ok(0)
    }

    fn group(&self, address: u64) -> Result<MulticastGroup, Status> {
        let group: MulticastGroup = get(&self.guest, address)?;
        let is_group = group.lid.is_multicast() && group.gid.prefix.get() >> 56 == 0xff;
        if is_group && group.reserved == [0; 6] { Ok(group) } else { Err(Status::BAD_ARGUMENT) }
    }

    fn datagram_pair(&mut self, handle: u32) -> Result<&mut QueuePair<G>, Status> {
        self.pairs.get_mut(handle).filter(|pair| pair.config.kind == QueuePairKind::UD).ok_or(Status::BAD_HANDLE)
    }

    fn register(&mut self, address: u64) -> Result<u64, Status> {
        let region: MemoryRegion = get(&self.guest, address)?;
        if region.reserved != 0 || region.length == 0 || !Access::all().contains(region.access) {
            return Err(Status::BAD_ARGUMENT);
        }
        region.address.checked_add(region.length).ok_or(Status::BAD_ARGUMENT)?;
        let last = region.physical.checked_add(region.length - 1).ok_or(Status::BAD_ADDRESS)?;
        self.guest.read(last, &mut [0]).map_err(|_| Status::BAD_ADDRESS)?;
        created(self.regions.insert(region))
    }
}

fn handle(argument: u64) -> Result<u32, Status> {
    u32::try_from(argument).map_err(|_| Status::BAD_HANDLE)
}

fn created(handle: Option<u32>) -> Result<u64, Status> {
    handle.map(u64::from).ok_or(Status::NO_RESOURCES)
}

fn done<T>(gone: Option<T>) -> Result<u64, Status> {
    gone.map(|_| 0).ok_or(Status::BAD_HANDLE)
}

/// Returns the port number in an argument.
///
/// # Errors
/// The adapter has no such port.
pub(crate) fn number(adapter: &ChannelAdapter, port: u64) -> Result<PortNum, Status> {
    let number = u8::try_from(port).map(PortNum::new).map_err(|_| Status::BAD_PORT)?;
    adapter.port_info(number).map(|_| number).ok_or(Status::BAD_PORT)
}

fn attributes(adapter: &ChannelAdapter) -> HcaAttributes {
    let node = adapter.node_info();
    HcaAttributes {
        node_guid: node.node_guid,
        system_image_guid: node.system_image_guid,
        vendor_id: node.vendor_id.get(),
        device_id: node.device_id.get(),
        ports: node.num_ports,
        max_log_entries: MAX_LOG_ENTRIES,
        max_queue_pairs: MAX_QUEUE_PAIRS.into(),
        max_completion_queues: MAX_COMPLETION_QUEUES.into(),
        max_memory_regions: MAX_REGIONS.into(),
        max_multicast: MAX_GROUPS.into(),
    }
}

fn port(adapter: &ChannelAdapter, port: u64) -> Result<PortAttributes, Status> {
    let number = number(adapter, port)?;
    let info = adapter.port_info(number).ok_or(Status::BAD_PORT)?;
    Ok(PortAttributes {
        gid_prefix: info.gid_prefix,
        guid: adapter.port_guid(number).unwrap_or_default(),
        capability_mask: info.capability_mask().bits(),
        lid: info.lid,
        sm_lid: info.master_sm_lid,
        sm_sl: info.master_sm_sl(),
        lmc: info.lmc(),
        state: info.port_state().get(),
        physical_state: info.physical_state().get(),
        mtu: info.neighbor_mtu().get(),
        link_width: info.link_width_active.bits(),
        link_speed: info.link_speed_active().bits(),
        link_speed_ext: info.link_speed_ext_active().bits(),
        p_keys: P_KEYS,
        guids: info.guid_cap.into(),
        p_key_violations: info.p_key_violations.get(),
        q_key_violations: info.q_key_violations.get(),
    })
}

fn p_key(adapter: &ChannelAdapter, port: u64, index: u64) -> Result<u64, Status> {
    let table = adapter.p_keys(number(adapter, port)?).ok_or(Status::BAD_PORT)?;
    let index = usize::try_from(index).map_err(|_| Status::BAD_ARGUMENT)?;
    table.p_keys.get(index).map(|p_key| p_key.get().into()).ok_or(Status::BAD_ARGUMENT)
}

fn guid(adapter: &ChannelAdapter, port: u64, index: u64) -> Result<u64, Status> {
    let table = adapter.guids(number(adapter, port)?).ok_or(Status::BAD_PORT)?;
    let index = usize::try_from(index).map_err(|_| Status::BAD_ARGUMENT)?;
    table.guids.get(index).map(|guid| guid.get()).ok_or(Status::BAD_ARGUMENT)
}
