//! The files that libibumad reads: `/sys/class/infiniband`, `/sys/class/infiniband_mad` and `/dev/infiniband`, with one
//! device that has the ports of the attached node. Their content has the form of the kernel's.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use iba::attr::{LinkSpeed, LinkSpeedExt, LinkWidth, NodeInfo, NodeType, PKeyTable, PortInfo};
use iba::{Gid, Guid, PortNum};

use crate::abi;

const IB: &str = "/sys/class/infiniband";
const MAD: &str = "/sys/class/infiniband_mad";
const DEV: &str = "/dev/infiniband";

/// Name of the device.
const DEVICE: &str = "portico0";

/// Attributes of the attached node.
#[derive(Clone, Debug)]
pub(crate) struct NodeAttributes {
    pub(crate) node: NodeInfo,
    pub(crate) ports: Vec<PortAttributes>,
    /// Version of the node's firmware.
    pub(crate) firmware: u64,
}

/// Attributes of a port.
#[derive(Clone, Debug)]
pub(crate) struct PortAttributes {
    pub(crate) number: PortNum,
    pub(crate) info: PortInfo,
    pub(crate) p_keys: PKeyTable,
}

/// A device file of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// Sends and receives MADs.
    Umad(PortNum),
    /// Sets the port's IsSM bit while it is open.
    Issm(PortNum),
}

impl Device {
    /// Returns the number in the names of a port's files, from 0. A switch's port 0 and a port 1 have number 0.
    fn index(port: PortNum) -> u8 {
        port.get().saturating_sub(1)
    }

    /// Returns the minor number of the file in the kernel.
    pub(crate) fn minor(self) -> u32 {
        const ISSM: u32 = 64;
        match self {
            Self::Umad(port) => Self::index(port).into(),
            Self::Issm(port) => ISSM + u32::from(Self::index(port)),
        }
    }
}

/// File at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    File(String),
    Device(Device),
    /// A directory with these names.
    Directory(Vec<String>),
}

/// Returns `true` if `path` lies in a directory of these files, whether or not a file is there.
pub(crate) fn is_ours(path: &[u8]) -> bool {
    // Cheap, because every path that the process opens is checked.
    (path.starts_with(b"/sys/") || path.starts_with(b"/dev/"))
        && [IB, MAD, DEV].iter().any(|&root| normal(path).starts_with(root))
}

/// Returns `path` without doubled slashes and `..`: these directories have no links.
fn normal(path: &[u8]) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::ParentDir => _ = normal.pop(),
            other => normal.push(other),
        }
    }
    normal
}

/// Returns the age that the attributes for the file at `path` may have.
pub(crate) fn age_of(path: &[u8]) -> Age {
    let is_of_port = path.starts_with(IB.as_bytes()) && path.windows(7).any(|part| part == b"/ports/");
    if is_of_port { Age::Present } else { Age::Any }
}

/// Age that attributes may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// Queried now: a port's attributes change while a process is attached.
    Present,
    /// Queried once: a node's attributes do not change.
    Any,
}

/// Returns the file at `path`.
pub(crate) fn lookup(attributes: &NodeAttributes, path: &[u8]) -> Option<Entry> {
    let path = normal(path);
    let tree = tree(attributes);
    if let Some(entry) = tree.get(&path) {
        return Some(entry.clone());
    }
    let below = tree.keys().filter_map(|file| file.strip_prefix(&path).ok()?.components().next());
    let names: BTreeSet<String> = below
        .filter_map(|name| match name {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    (!names.is_empty()).then(|| Entry::Directory(names.into_iter().collect()))
}

/// Returns all files, by path.
fn tree(attributes: &NodeAttributes) -> BTreeMap<PathBuf, Entry> {
    let NodeAttributes { node, ports, firmware } = attributes;
    let mut tree = BTreeMap::new();
    let mut file = |path: String, text: String| tree.insert(path.into(), Entry::File(text + "\n"));

    file(format!("{MAD}/abi_version"), abi::VERSION.to_string());
    let mut file =
        |name: &str, text: String| tree.insert(format!("{IB}/{DEVICE}/{name}").into(), Entry::File(text + "\n"));
    file("node_type", node_type(node.node_type));
    file("fw_ver", firmware.to_string());
    file("hw_rev", format!("{:x}", node.revision.get()));
    file("hca_type", "portico".into());
    file("node_guid", guid(node.node_guid));
    file("sys_image_guid", guid(node.system_image_guid));
    ports.iter().for_each(|port| add_port(&mut tree, node, port));
    tree
}

/// Adds the files of a port.
fn add_port(tree: &mut BTreeMap<PathBuf, Entry>, node: &NodeInfo, attributes: &PortAttributes) {
    let PortAttributes { number, info: port, p_keys } = attributes;
    let index = Device::index(*number);
    for (device, entry) in [("umad", Device::Umad(*number)), ("issm", Device::Issm(*number))] {
        let mut file = |name: &str, text: &str| {
            tree.insert(format!("{MAD}/{device}{index}/{name}").into(), Entry::File(format!("{text}\n")));
        };
        file("ibdev", DEVICE);
        file("port", &number.to_string());
        tree.insert(format!("{DEV}/{device}{index}").into(), Entry::Device(entry));
    }

    let mut file = |name: &str, text: String| {
        tree.insert(format!("{IB}/{DEVICE}/ports/{number}/{name}").into(), Entry::File(text + "\n"))
    };
    file("lid", format!("0x{:x}", port.lid.get()));
    file("lid_mask_count", port.lmc().to_string());
    file("sm_lid", format!("0x{:x}", port.master_sm_lid.get()));
    file("sm_sl", port.master_sm_sl().get().to_string());
    file("state", format!("{}: {}", port.port_state().get(), port.port_state().to_string().to_uppercase()));
    file("phys_state", format!("{}: {}", port.physical_state().get(), port.physical_state()));
    file("rate", rate(port));
    file("cap_mask", format!("0x{:08x}", port.capability_mask().bits()));
    file("link_layer", "InfiniBand".into());
    // The GUID of a port is the node's plus the port's number wherever a process can attach.
    let port_guid = Guid::new(node.node_guid.get().wrapping_add(number.get().into()));
    file("gids/0", gid(Gid { prefix: port.gid_prefix, guid: port_guid }));
    for (index, p_key) in p_keys.p_keys.iter().enumerate().take(usize::from(node.partition_cap.get()).max(1)) {
        file(&format!("pkeys/{index}"), format!("0x{:04x}", p_key.get()));
    }
}

fn node_type(node_type: NodeType) -> String {
    let name = match node_type {
        NodeType::CHANNEL_ADAPTER => "CA",
        NodeType::SWITCH => "switch",
        NodeType::ROUTER => "router",
        _ => "<unknown>",
    };
    format!("{}: {name}", node_type.get())
}

/// Lanes times the speed of one, as in "100 Gb/sec (4X EDR)".
fn rate(port: &PortInfo) -> String {
    let active = |width| port.link_width_active.contains(width);
    let lanes = match () {
        () if active(LinkWidth::X12) => 12,
        () if active(LinkWidth::X8) => 8,
        () if active(LinkWidth::X4) => 4,
        () if active(LinkWidth::X2) => 2,
        () => 1,
    };
    // Tenths of Gb/s for a lane.
    let (speed, extended) = (port.link_speed_active(), port.link_speed_ext_active());
    let (speed, name) = match () {
        () if extended.contains(LinkSpeedExt::HDR) => (500, " HDR"),
        () if extended.contains(LinkSpeedExt::EDR) => (250, " EDR"),
        () if extended.contains(LinkSpeedExt::FDR) => (140, " FDR"),
        () if speed.contains(LinkSpeed::QDR) => (100, " QDR"),
        () if speed.contains(LinkSpeed::DDR) => (50, " DDR"),
        () => (25, ""),
    };
    let total = lanes * speed;
    let tenths = if total % 10 == 0 { String::new() } else { format!(".{}", total % 10) };
    format!("{}{tenths} Gb/sec ({lanes}X{name})", total / 10)
}

fn guid(guid: Guid) -> String {
    groups(&guid.get().to_be_bytes())
}

fn gid(gid: Gid) -> String {
    format!("{}:{}", groups(&gid.prefix.get().to_be_bytes()), guid(gid.guid))
}

/// Formats groups of four digits with colons between them; keeps leading zeros.
fn groups(bytes: &[u8; 8]) -> String {
    let groups: Vec<String> = bytes.chunks(2).map(|pair| format!("{:02x}{:02x}", pair[0], pair[1])).collect();
    groups.join(":")
}

#[cfg(test)]
mod tests {
    use iba::attr::{PortPhysicalState, PortState};
    use iba::{GidPrefix, Lid, PKey, PortNum};
    use zerocopy::FromZeros;

    use super::*;

    fn attributes() -> NodeAttributes {
        let mut node = NodeInfo::new_zeroed();
        node.node_type = NodeType::CHANNEL_ADAPTER;
        node.node_guid = Guid::new(0x0200_00ff_fe00_0010);
        node.partition_cap.set(2);
        node.local_port = PortNum::new(1);
        let mut port = PortInfo::new_zeroed();
        port.lid = Lid::new(0x12);
        port.gid_prefix = GidPrefix::DEFAULT;
        port.set_port_state(PortState::ACTIVE);
        port.set_physical_state(PortPhysicalState::LINK_UP);
        port.link_width_active = LinkWidth::X4;
        port.set_link_speed_ext_active(LinkSpeedExt::EDR);
        let mut p_keys = PKeyTable::new_zeroed();
        p_keys.p_keys[0] = PKey::DEFAULT;
        let mut second = port;
        second.lid = Lid::new(0x13);
        let ports = [(1, port), (2, second)].map(|(number, info)| PortAttributes {
            number: PortNum::new(number),
            info,
            p_keys,
        });
        NodeAttributes { node, ports: ports.into(), firmware: 1 }
    }

    fn text(path: &str) -> String {
        match lookup(&attributes(), path.as_bytes()) {
            Some(Entry::File(text)) => text,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn names(path: &str) -> Vec<String> {
        match lookup(&attributes(), path.as_bytes()) {
            Some(Entry::Directory(names)) => names,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn files_have_the_content_that_libibumad_reads() {
        assert_eq!(text("/sys/class/infiniband_mad/abi_version"), "5\n");
        assert_eq!(text("/sys/class/infiniband_mad/umad0//ibdev"), "portico0\n", "a doubled slash");
        assert_eq!(text("/sys/class/infiniband_mad/issm0/port"), "1\n");
        assert_eq!(text("/sys/class/infiniband/portico0/node_type"), "1: CA\n");
        assert_eq!(text("/sys/class/infiniband/portico0/node_guid"), "0200:00ff:fe00:0010\n");
        let port = |name: &str| text(&format!("/sys/class/infiniband/portico0/ports/1/{name}"));
        assert_eq!(port("lid"), "0x12\n");
        assert_eq!(port("state"), "4: ACTIVE\n");
        assert_eq!(port("phys_state"), "5: LinkUp\n");
        assert_eq!(port("rate"), "100 Gb/sec (4X EDR)\n");
        assert_eq!(port("gids/0"), "fe80:0000:0000:0000:0200:00ff:fe00:0011\n");
        assert_eq!(port("pkeys/0"), "0xffff\n");
        assert_eq!(text("/sys/class/infiniband_mad/umad1/port"), "2\n");
        assert_eq!(text("/sys/class/infiniband/portico0/ports/2/lid"), "0x13\n");
        assert_eq!(text("/sys/class/infiniband/portico0/ports/2/gids/0"), "fe80:0000:0000:0000:0200:00ff:fe00:0012\n");
    }

    #[test]
    fn rate_of_a_slow_link_has_a_fraction() {
        let mut attributes = attributes();
        let port = &mut attributes.ports[0].info;
        port.set_link_speed_ext_active(LinkSpeedExt::empty());
        port.link_width_active = LinkWidth::X1;
        assert_eq!(rate(port), "2.5 Gb/sec (1X)");
    }

    #[test]
    fn directories_list_their_files() {
        assert_eq!(names("/sys/class/infiniband"), ["portico0"]);
        assert_eq!(names("/sys/class/infiniband/portico0/ports/"), ["1", "2"]);
        assert_eq!(names("/sys/class/infiniband/portico0/ports/1/pkeys"), ["0", "1"]);
        assert_eq!(names("/sys/class/infiniband_mad"), ["abi_version", "issm0", "issm1", "umad0", "umad1"]);
        assert_eq!(names("/dev/infiniband"), ["issm0", "issm1", "umad0", "umad1"]);
        assert_eq!(lookup(&attributes(), b"/dev/infiniband/umad0"), Some(Entry::Device(Device::Umad(PortNum::new(1)))));
        let second = Device::Issm(PortNum::new(2));
        assert_eq!(lookup(&attributes(), b"/dev/infiniband/issm1"), Some(Entry::Device(second)));
        assert_eq!(second.minor(), 65);
        assert_eq!(lookup(&attributes(), b"/dev/infiniband/umad2"), None);
        assert_eq!(lookup(&attributes(), b"/sys/class/infiniband/portico0/ports/3"), None);
    }

    #[test]
    fn paths_of_the_library_are_recognized() {
        for path in
            ["/dev/infiniband", "/dev//infiniband/umad0", "/sys/class/net/../infiniband/x", "/sys/class/infiniband_mad"]
        {
            assert!(is_ours(path.as_bytes()), "{path}");
        }
        for path in [
            "/sys/class/infiniband/../net",
            "/dev/infiniband2",
            "/sys/class/infiniband_verbs",
            "/sys/class",
            "/dev/null",
            "dev/infiniband",
            "",
        ] {
            assert!(!is_ours(path.as_bytes()), "{path}");
        }
    }
}
