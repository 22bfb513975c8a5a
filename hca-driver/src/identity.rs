//! The device's identity, read once and checked.

use hca_contract::{MAGIC, MAX_PORTS, VERSION};

use crate::bar::Bar2;
use crate::fault::Fault;
use crate::port::Port;
use crate::registers::DevicePageVolatileFieldAccess as _;

/// Checked identity of a device: its generation, ports, GUIDs and ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Generation of the device; never 0.
    pub generation: u32,
    /// Number of ports, 1 or 2.
    pub ports: u16,
    /// Target of the driver's notifications; its meaning is the carrier's.
    pub doorbell_target: u16,
    /// Node GUID, never 0; port `p`'s GUID (1-based) is this plus `p`.
    pub node_guid: u64,
    /// System image GUID.
    pub system_image_guid: u64,
    /// Vendor id, 24 bits.
    pub vendor_id: u32,
    /// Device id.
    pub device_id: u16,
    /// Revision.
    pub revision: u16,
}

impl Identity {
    /// Returns the ports of this device.
    pub fn ports(&self) -> impl Iterator<Item = Port> + use<> {
        Port::ALL.into_iter().take(usize::from(self.ports))
    }

    /// Reads and checks the identity of the device in `generation`.
    ///
    /// # Errors
    /// The first value that the contract does not allow.
    pub(crate) fn read(bar: &Bar2, generation: u32) -> Result<Self, Fault> {
        let registers = bar.device();
        let magic = registers.magic().read();
        if magic != MAGIC {
            return Err(Fault::BadMagic(magic));
        }
        let version = registers.version().read();
        if version >> 16 != VERSION >> 16 {
            return Err(Fault::BadVersion(version));
        }
        let claimed = registers.ports().read();
        let ports = match u16::try_from(claimed) {
            Ok(ports @ 1..=MAX_PORTS) => ports,
            _ => return Err(Fault::BadPorts(claimed)),
        };
        let target = registers.doorbell_target().read();
        let doorbell_target = u16::try_from(target).map_err(|_| Fault::BadDoorbellTarget(target))?;
        let node_guid = registers.node_guid().read();
        if node_guid == 0 || node_guid.checked_add(u64::from(ports)).is_none() {
            return Err(Fault::BadNodeGuid(node_guid));
        }
        let device_id = registers.device_id().read().to_le_bytes();
        Ok(Self {
            generation,
            ports,
            doorbell_target,
            node_guid,
            system_image_guid: registers.system_image_guid().read(),
            vendor_id: registers.vendor_id().read() & 0x00ff_ffff,
            device_id: u16::from_le_bytes([device_id[0], device_id[1]]),
            revision: u16::from_le_bytes([device_id[2], device_id[3]]),
        })
    }
}
