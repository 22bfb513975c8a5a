//! GUIDs that are the same at every boot.

use iba::Guid;

/// Returns node GUID number `node` of the hypervisor `name`: a locally administered EUI-64, so the first byte is 02;
/// then 32 bits of a hash of the name, `node`, and a byte for the port, 0 in a node GUID.
#[must_use]
pub fn stable_guid(name: &str, node: u16) -> Guid {
    // FNV-1a, folded: subnet managers keep GUIDs over restarts, so this must never change.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let name = (hash ^ hash >> 32) & 0xffff_ffff;
    Guid::new(0x02 << 56 | name << 24 | u64::from(node) << 8)
}
