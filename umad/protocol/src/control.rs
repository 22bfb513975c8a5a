//! Control messages: attach, detach, and attributes of a client's port.

use zerocopy::byteorder::{NativeEndian, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First word of every control message.
pub const MAGIC: u32 = 0xdead_beef;

/// Bytes of data in a control message.
pub const DATA_LEN: usize = 64;

/// Bytes of a node's name in [`ConnectData`], with at least one NUL behind it.
pub const NODE_ID_LEN: usize = 32;

/// A control message. The answer is the same message, with the data filled in or with kind [`ControlKind::ERROR`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Control {
    /// [`MAGIC`].
    pub magic: U32<NativeEndian>,
    /// The client's slot, 0 in CONNECT.
    pub client: U32<NativeEndian>,
    /// Kind of the message.
    pub kind: ControlKind,
    /// Number of valid bytes of data.
    pub len: U32<NativeEndian>,
    /// The data, by kind.
    pub data: [u8; DATA_LEN],
}

const _: () = assert!(size_of::<Control>() == 80);

impl Control {
    /// Creates a message of `kind` from the client in slot `client`.
    #[must_use]
    pub fn new<T: IntoBytes + Immutable>(client: u32, kind: ControlKind, data: &T) -> Self {
        const { assert!(size_of::<T>() <= DATA_LEN) }
        #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
        let len = U32::new(size_of::<T>() as u32);
        let mut message = Self { magic: U32::new(MAGIC), client: U32::new(client), kind, len, data: [0; DATA_LEN] };
        message.data[..size_of::<T>()].copy_from_slice(data.as_bytes());
        message
    }
}

/// Kind of a control message. An unknown value is valid, so that it can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct ControlKind(U32<NativeEndian>);

impl ControlKind {
    /// Answer: the request failed.
    pub const ERROR: Self = Self::new(0);
    /// Attach to a node: [`ConnectData`] in and out.
    pub const CONNECT: Self = Self::new(1);
    /// Detach.
    pub const DISCONNECT: Self = Self::new(2);
    /// LID and state of the attached port: u16 and u8, native endian.
    pub const GET_PORT: Self = Self::new(3);
    /// Vendor, device and revision of the node: [`VendorData`].
    pub const GET_VENDOR: Self = Self::new(4);
    /// GID of the attached port.
    pub const GET_GID: Self = Self::new(5);
    /// GUID of the attached port.
    pub const GET_GUID: Self = Self::new(6);
    /// NodeInfo of the attached port.
    pub const GET_NODEINFO: Self = Self::new(7);
    /// PortInfo of the port in the first byte, 0 being the attached one.
    pub const GET_PORTINFO: Self = Self::new(8);
    /// Sets (1) or clears (0) the IsSM bit of the attached port: u32.
    pub const SET_ISSM: Self = Self::new(9);
    /// The first 32 P_Keys of the port in the first byte, 0 being the attached one; big endian. ibsim has no other
    /// port.
    pub const GET_PKEYS: Self = Self::new(10);
    /// Attach to another port of the node: to the one in the first byte. This request is Portico's own, not ibsim's.
    pub const SET_PORT: Self = Self::new(64);

    const fn new(value: u32) -> Self {
        Self(U32::from_bytes(value.to_ne_bytes()))
    }
}

/// Data of CONNECT.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ConnectData {
    /// In: the client's process id, or the UDP port of its data socket. Out: its slot.
    pub id: U32<NativeEndian>,
    /// Queue pair of the client, 0 for a umad program.
    pub qp: U32<NativeEndian>,
    /// Other than 0: the client is an SM from the start.
    pub is_sm: U32<NativeEndian>,
    /// In: the node to attach to, empty for any. Out: the one attached to. NUL behind it.
    pub node_id: [u8; NODE_ID_LEN],
}

const _: () = assert!(size_of::<ConnectData>() <= DATA_LEN);

impl ConnectData {
    /// Returns the node's name up to the NUL; `None` if it is not UTF-8.
    #[must_use]
    pub fn node_id(&self) -> Option<&str> {
        let len = self.node_id.iter().position(|&byte| byte == 0).unwrap_or(NODE_ID_LEN);
        str::from_utf8(&self.node_id[..len]).ok()
    }

    /// Sets the node's name, truncated to the last whole character within 31 bytes.
    pub fn set_node_id(&mut self, name: &str) {
        let len = name.floor_char_boundary(NODE_ID_LEN - 1);
        self.node_id = [0; NODE_ID_LEN];
        self.node_id[..len].copy_from_slice(&name.as_bytes()[..len]);
    }
}

/// Data of the answer to GET_VENDOR.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct VendorData {
    /// Vendor id, an OUI.
    pub vendor: U32<NativeEndian>,
    /// Device id.
    pub device: U32<NativeEndian>,
    /// Hardware revision.
    pub revision: U32<NativeEndian>,
    /// The firmware version follows on an 8-byte boundary.
    pub padding: [u8; 4],
    /// Firmware version.
    pub firmware: U64<NativeEndian>,
}

const _: () = assert!(size_of::<VendorData>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_has_the_layout_of_ibsim() {
        let mut data = ConnectData { id: U32::new(5), qp: U32::new(0), is_sm: U32::new(1), node_id: [0; NODE_ID_LEN] };
        data.set_node_id("H1");
        let message = Control::new(0, ControlKind::CONNECT, &data);
        let bytes = message.as_bytes();
        assert_eq!(bytes[..4], 0xdead_beef_u32.to_ne_bytes());
        assert_eq!(bytes[8..12], 1_u32.to_ne_bytes());
        assert_eq!(bytes[12..16], 44_u32.to_ne_bytes());
        assert_eq!(bytes[16..20], 5_u32.to_ne_bytes());
        assert_eq!(bytes[24..28], 1_u32.to_ne_bytes());
        assert_eq!(bytes[28..32], *b"H1\0\0");
        assert_eq!(data.node_id(), Some("H1"));
    }

    #[test]
    fn name_that_fills_its_field_keeps_a_nul() {
        let mut data = ConnectData { id: U32::ZERO, qp: U32::ZERO, is_sm: U32::ZERO, node_id: [0; NODE_ID_LEN] };
        data.set_node_id(&"n".repeat(40));
        assert_eq!(data.node_id(), Some("n".repeat(31).as_str()));
    }
}
