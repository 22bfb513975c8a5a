//! GUIDs that stay the same from boot to boot.

use iba::Guid;

/// Node GUID number `node` of the hypervisor called `name`: a locally administered EUI-64 (it begins with 02), then 32
/// bits that come from the name, then `node`, then a byte for the ports, 0 in a node GUID.
#[must_use]
pub fn stable_guid(name: &str, node: u16) -> Guid {
    // FNV-1a, folded: it has to be the same for ever, and to tell a few names apart.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let name = (hash ^ hash >> 32) & 0xffff_ffff;
    Guid::new(0x02 << 56 | name << 24 | u64::from(node) << 8)
}
